"""The voice file: exact there and back, one clear line for whatever is wrong with it, and the arithmetic of a mix."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as to_bytes

from nemo_ext import voices
from nemo_ext.errors import NemoExtError
from nemo_ext.voices import LARGEST, Consent, Provenance, Voice, VoiceLayout

LAYOUT = VoiceLayout.of({"embedding": (8,), "encoder.0.ff/film": (2, 8), "encoder.0.ff/up": (8, 4)})


def make(name: str = "anna", seed: int = 0, **changes: Any) -> Voice:
    rng = np.random.default_rng(seed)
    voice = Voice(
        name=name,
        vector=rng.normal(size=LAYOUT.size).astype(np.float32),
        layout=LAYOUT,
        language="de",
        pitch_mean=200.0 + seed,
        pitch_std=31.5,
        styles={"anger": rng.normal(size=4).astype(np.float32), "Freude, laut": np.zeros(4, np.float32)},
        mel_stats=rng.normal(size=(2, 80)).astype(np.float32),
        base="runs/model.nemo",
        base_hash="0123456789abcdef",
        base_parameters=45_000_000,
        provenance=Provenance(
            "adapted", "2026-05-02", "Ännas Stimme", 30, 204.5, "ab" * 16, Consent("Anna", "2026-05-01", "books"), 500
        ),
    )
    return dataclasses.replace(voice, **changes)


def same(one: Voice, other: Voice) -> bool:
    a, b = dataclasses.asdict(one), dataclasses.asdict(other)
    for arrays in ("vector", "mel_stats"):
        x, y = a.pop(arrays), b.pop(arrays)
        if (x is None) != (y is None) or (x is not None and x.tobytes() != y.tobytes()):
            return False
    x, y = a.pop("styles"), b.pop("styles")
    return a == b and {k: v.tobytes() for k, v in x.items()} == {k: v.tobytes() for k, v in y.items()}


def test_there_and_back_is_exact(tmp_path: Path) -> None:
    for voice in (make(), make(mel_stats=None, styles={}), make(base_parameters=0, provenance=Provenance())):
        path = voices.save(voice, tmp_path / "a b" / "ännä.voice")
        assert same(voices.load(path), voice)
        first = path.read_bytes()
        voices.save(voices.load(path), path)
        assert path.read_bytes() == first
        assert list(path.parent.iterdir()) == [path]


def test_a_file_without_the_number_of_parameters_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.voice"
    path.write_bytes(changed(make(), lambda about: about.pop("base_parameters")))
    assert voices.load(path).base_parameters == 0


def test_reading_a_voice_needs_no_torch(tmp_path: Path) -> None:
    path = voices.save(make(), tmp_path / "a.voice")
    code = f"import sys; from nemo_ext import voices; voices.load({str(path)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def changed(voice: Voice, change: Callable[[dict[str, Any]], Any], tensors: dict[str, Any] | None = None) -> bytes:
    """A well-formed safetensors file that says something else than ``save`` would write."""
    arrays: dict[str, Any] = {"vector": voice.vector, **{f"style/{k}": v for k, v in voice.styles.items()}}
    if voice.mel_stats is not None:
        arrays["mel_stats"] = voice.mel_stats
    arrays |= tensors or {}
    about = {
        "format": voices.FORMAT,
        "name": voice.name,
        "language": voice.language,
        "pitch_mean": voice.pitch_mean,
        "pitch_std": voice.pitch_std,
        "base": voice.base,
        "base_hash": voice.base_hash,
        "base_parameters": voice.base_parameters,
        "layout": voice.layout.to_list(),
        "layout_hash": voice.layout.hash,
        "provenance": dataclasses.asdict(voice.provenance),
        "checksum": voices._checksum(arrays),
    }
    change(about)
    return to_bytes(arrays, {"voice": json.dumps(about, ensure_ascii=False)})


def refused(path: Path, content: bytes) -> str:
    """What is said of a file with ``content``: one line that names the file."""
    path.write_bytes(content)
    with pytest.raises(NemoExtError) as raised:
        voices.load(path)
    said = str(raised.value)
    assert str(path) in said
    assert "\n" not in said
    return said


def test_what_is_changed_here_is_what_save_writes(tmp_path: Path) -> None:
    """Otherwise the tests below would be refused for another reason than the one they are about."""

    def told(about: dict[str, Any]) -> None:
        about["header_checksum"] = voices._header_checksum(about)

    assert changed(make(), told) == voices.save(make(), tmp_path / "a.voice").read_bytes()


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = voices.save(make(), tmp_path / "a.voice").read_bytes()
    header = struct.unpack("<Q", whole[:8])[0] + 8
    for length in (0, 1, 7, 8, 9, header // 2, header - 1, header, header + 1, len(whole) - 1):
        refused(tmp_path / "cut.voice", whole[:length])


def test_one_flipped_bit_anywhere_is_refused_or_harmless(tmp_path: Path) -> None:
    """Every byte of the numbers; of the header every byte as well, where some bits change nothing that is kept."""
    voice = make(mel_stats=None, styles={"a": np.ones(2, np.float32)})
    whole = voices.save(voice, tmp_path / "a.voice").read_bytes()
    header = struct.unpack("<Q", whole[:8])[0] + 8
    path = tmp_path / "flipped.voice"
    survived = 0
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            found = voices.load(path)
        except NemoExtError:
            continue
        assert at < header, at
        assert same(found, voice), whole[max(0, at - 20) : at + 20]
        survived += 1
    assert survived < 0.1 * header


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about.update(format=voices.FORMAT + 1), f"of format {voices.FORMAT + 1}, and this version"),
        (lambda about: about.pop("format"), "of format None"),
        (lambda about: about.pop("layout"), "no voice file, or a damaged one"),
        (lambda about: about.update(layout=[["embedding", [9]]]), "is damaged"),
        (lambda about: about.update(layout=[["embedding", [float("inf")]]]), "no voice file, or a damaged one"),
        (lambda about: about.update(layout_hash="0" * 16), "is damaged"),
        (lambda about: about.update(checksum="0" * 32), "is damaged"),
        (lambda about: about.update(provenance="me"), "no voice file, or a damaged one"),
        (lambda about: about["provenance"].update(mood="good"), "no voice file, or a damaged one"),
        (lambda about: about["provenance"].update(seconds="long"), "no voice file, or a damaged one"),
        (lambda about: about["provenance"].pop("consent"), "no voice file, or a damaged one"),
        (lambda about: about["provenance"].update(consent=None), "no voice file, or a damaged one"),
        (lambda about: about["provenance"].update(consent="Anna"), "no voice file, or a damaged one"),
        (lambda about: about["provenance"].update(consent=["Anna"]), "no voice file, or a damaged one"),
        (lambda about: about.update(base_parameters=float("inf")), "no voice file, or a damaged one"),
        (lambda about: about.update(pitch_mean="high"), "no voice file, or a damaged one"),
        (lambda about: about.update(pitch_mean=float("nan")), "no voice file, or a damaged one"),
        (lambda about: about.update(pitch_std=0.0), "no voice's"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    assert said in refused(tmp_path / "a.voice", changed(make(), change))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"vector": np.ones(LAYOUT.size, np.float64)}, "no voice file, or a damaged one"),
        ({"vector": np.ones(LAYOUT.size, np.float16)}, "no voice file, or a damaged one"),
        ({"vector": np.ones(LAYOUT.size, np.int32)}, "no voice file, or a damaged one"),
        ({"vector": np.ones(LAYOUT.size + 1, np.float32)}, "is damaged"),
        ({"vector": np.ones((1, LAYOUT.size), np.float32)}, "is damaged"),
        ({"vector": np.full(LAYOUT.size, 1e6, np.float32)}, "overflow in float16"),
        ({"vector": np.full(LAYOUT.size, np.nan, np.float32)}, "overflow in float16"),
        ({"vector": np.full(LAYOUT.size, -np.inf, np.float32)}, "overflow in float16"),
        ({"style/anger": np.full(4, 1e6, np.float32)}, "style 'anger'"),
        ({"mel_stats": np.full((2, 80), np.nan, np.float32)}, "mel_stats"),
        ({"mel_stats": np.zeros(160, np.float32)}, "mel_stats of voice 'anna' have shape (160,), and are"),
        ({"mel_stats": np.zeros((3, 80), np.float32)}, "mel_stats of voice 'anna' have shape (3, 80), and are"),
        ({"style/anger": np.zeros((2, 2), np.float32)}, "the styles of voice 'anna' have shapes (2, 2), (4,), and are"),
        ({"style/anger": np.zeros(5, np.float32)}, "the styles of voice 'anna' have shapes (4,), (5,), and are"),
        ({"style/anger": np.zeros((), np.float32)}, "the styles of voice 'anna' have shapes (), (4,), and are"),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path: Path, tensors: dict[str, Any], said: str) -> None:
    assert said in refused(tmp_path / "a.voice", changed(make(), lambda about: None, tensors))


@pytest.mark.parametrize("value", [1.01 * LARGEST, -1e6, np.nan, np.inf])
def test_numbers_that_cannot_be_are_not_written(tmp_path: Path, value: float) -> None:
    voice = make()
    voice.vector[3] = value
    with pytest.raises(NemoExtError, match="overflow in float16"):
        voices.save(voice, tmp_path / "a.voice")
    assert list(tmp_path.iterdir()) == []
    voice.vector[3] = LARGEST
    assert voices.load(voices.save(voice, tmp_path / "a.voice")).vector[3] == LARGEST


def test_other_files_are_no_voices(tmp_path: Path, tiny_acoustic: Path) -> None:
    for content in (b"", b"hello", b"\x80\x04\x95 a pickle", b"\xff" * 64, to_bytes({"a": np.zeros(3, np.float32)})):
        assert "no voice file" in refused(tmp_path / "foreign.voice", content)
    for text in ("[]", "null", "no JSON", "[" * 100_000):
        foreign = to_bytes({"vector": np.zeros(3, np.float32)}, {"voice": text})
        assert "no voice file" in refused(tmp_path / "foreign.voice", foreign)
    for kind, size in (("BF16", 2), ("F8_E4M3", 1), ("F16", 2), ("F64", 8), ("I64", 8), ("U8", 1), ("BOOL", 1)):
        told = {"dtype": kind, "shape": [3], "data_offsets": [0, 3 * size]}
        header = json.dumps({"__metadata__": {"voice": "{}"}, "vector": told}).encode()
        foreign = struct.pack("<Q", len(header)) + header + bytes(3 * size)
        assert "no voice file" in refused(tmp_path / "foreign.voice", foreign)
    assert "no voice file" in refused(tmp_path / "model.voice", tiny_acoustic.read_bytes())
    with pytest.raises(NemoExtError, match=r"no voice file at .*nowhere\.voice"):
        voices.load(tmp_path / "nowhere.voice")
    with pytest.raises(NemoExtError, match="no regular file"):
        voices.load(tmp_path)


def test_a_model_given_as_a_voice_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "_MOST_BYTES", 100)
    with pytest.raises(NemoExtError, match="is it a model\\? give it as acoustic="):
        voices.load(voices.save(make(), tmp_path / "a.voice"))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NemoExtError, match="could not be written"):
        voices.save(make(), tmp_path / "file" / "a.voice")


def test_the_layout_is_an_interface() -> None:
    """Its hash stands in files that exist: if this changes, they cannot be read any more."""
    assert LAYOUT.hash == "00dbaec59a88f9bb"
    assert [slot.offset for slot in LAYOUT.slots] == [0, 8, 24]
    assert VoiceLayout.from_list(json.loads(json.dumps(LAYOUT.to_list())), "it") == LAYOUT
    renamed = VoiceLayout.of({"embedding": (8,), "encoder.1.ff/film": (2, 8), "encoder.0.ff/up": (8, 4)})
    turned = VoiceLayout.of({"embedding": (8,), "encoder.0.ff/film": (2, 8), "encoder.0.ff/up": (4, 8)})
    assert len({LAYOUT.hash, renamed.hash, turned.hash}) == 3


def test_a_mix_is_the_weighted_mean() -> None:
    anna, bob = make("anna", 0), make("bob", 1, pitch_mean=100.0, pitch_std=20.0, language="en")
    mixed = voices.mix([(anna, 7.0), (bob, 3.0)])
    np.testing.assert_allclose(mixed.vector, 0.7 * anna.vector + 0.3 * bob.vector, atol=1e-6)
    np.testing.assert_allclose(mixed.styles["anger"], 0.7 * anna.styles["anger"] + 0.3 * bob.styles["anger"], atol=1e-6)
    assert mixed.mel_stats is not None
    assert mixed.name == "anna:0.7+bob:0.3"
    assert mixed.language == "de"
    assert mixed.pitch_mean == pytest.approx(200.0**0.7 * 100.0**0.3)
    assert mixed.pitch_std == pytest.approx(0.7 * 31.5 + 0.3 * 20.0)
    assert mixed.provenance.made_by == "mixed"
    assert mixed.provenance.recordings == 60
    assert (mixed.base, mixed.base_hash, mixed.base_parameters) == (anna.base, anna.base_hash, 45_000_000)
    assert same(voices.mix([(anna, 0.2)]), anna)
    np.testing.assert_allclose(voices.mix([(anna, 1.0), (anna, 5.0)]).vector, anna.vector, atol=1e-6)


def test_pitch_moves_evenly_in_semitones_over_five_weights() -> None:
    low, high = make("low", pitch_mean=100.0), make("high", pitch_mean=200.0)
    weights = (0.0001, 0.25, 0.5, 0.75, 0.9999)
    pitch = [voices.mix([(high, w), (low, 1.0 - w)]).pitch_mean for w in weights]
    semitones = np.diff(12.0 * np.log2(pitch))
    assert (semitones > 0).all()
    np.testing.assert_allclose(semitones, 3.0, atol=0.01)


def test_a_mix_keeps_what_every_part_has() -> None:
    anna, bob = make("anna"), make("bob", 1, styles={"anger": np.ones(4, np.float32)}, mel_stats=None, pitch_mean=0.0)
    mixed = voices.mix([(anna, 0.5), (bob, 0.5)], "both")
    assert list(mixed.styles) == ["anger"]
    assert mixed.mel_stats is None
    assert (mixed.pitch_mean, mixed.pitch_std) == (0.0, 1.0)
    assert mixed.name == "both"


def test_one_unknown_consent_makes_the_mix_unknown() -> None:
    anna = make("anna")
    bob = make("bob", provenance=Provenance("adapted", consent=Consent("Bob", "2026-01-01", "tests")))
    known = voices.mix([(anna, 0.5), (bob, 0.5)]).provenance.consent
    assert known == Consent("Anna; Bob", "2026-05-01; 2026-01-01", "books; tests")
    assert voices.mix([(anna, 0.5), (make("twin"), 0.5)]).provenance.consent == anna.provenance.consent
    for nobody in (Provenance("adapted"), Provenance()):
        assert voices.mix([(anna, 0.5), (make("eve", provenance=nobody), 0.5)]).provenance.consent == Consent()


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_weights_that_cannot_be(weight: float) -> None:
    with pytest.raises(NemoExtError, match="give a number above 0"):
        voices.mix([(make(), weight), (make("bob"), 1.0)])


def test_voices_of_two_models_are_not_mixed() -> None:
    with pytest.raises(NemoExtError, match="nothing to mix"):
        voices.mix([])
    other = make("bob", base="other.nemo", base_hash="f" * 16)
    with pytest.raises(NemoExtError, match=r"'runs/model\.nemo' \(0123\w+\) and 'bob' to 'other\.nemo' \(f+\)"):
        voices.mix([(make(), 0.5), (other, 0.5)])
    layout = VoiceLayout.of({"embedding": (LAYOUT.size,)})
    with pytest.raises(NemoExtError, match="only voices of one base model"):
        voices.mix([(make(), 0.5), (make("bob", layout=layout), 0.5)])


@pytest.mark.parametrize(
    "changes", [{"styles": {"anger": np.zeros(5, np.float32)}}, {"mel_stats": np.zeros((2, 64), np.float32)}]
)
def test_arrays_of_another_size_than_the_base_models_are_refused(changes: dict[str, Any]) -> None:
    """The header can say what it likes."""
    wrong = make("bo", 1, **changes)
    with pytest.raises(NemoExtError, match="'anna' and 'bo' have styles or mel_stats of different sizes"):
        voices.mix([(make(), 0.5), (wrong, 0.5)])
    voices.mix([(make(styles={}, mel_stats=None), 0.5), (wrong, 0.5)])  # what one of them lacks is left out
    voices.check_sizes(make(), "anna.voice", 4, 80)
    voices.check_sizes(make(styles={}, mel_stats=None), "anna.voice", 4, 80)
    (name,) = changes
    with pytest.raises(
        NemoExtError, match=rf"bo\.voice: its {name} have \d+ values, and those of .* 'runs/model.nemo'"
    ):
        voices.check_sizes(wrong, "bo.voice", 4, 80)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("anna", [("anna", 1.0)]),
        ("anna:0.7+bob:0.3", [("anna", 0.7), ("bob", 0.3)]),
        (" anna : 2 + bob ", [("anna", 2.0), ("bob", 1.0)]),
        ("v/a.voice:0.5+v/b.voice:0.5", [("v/a.voice", 0.5), ("v/b.voice", 0.5)]),
        ("team:anna", [("team:anna", 1.0)]),
        ("team:anna:0.5", [("team:anna", 0.5)]),
    ],
)
def test_what_a_person_writes_for_a_mix(text: str, parts: list[tuple[str, float]]) -> None:
    assert voices.parse_mix(text) == parts


@pytest.mark.parametrize("text", ["", "+", "anna:0.5+", ":0.5", "anna++bob"])
def test_a_mix_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(NemoExtError, match="is no mix"):
        voices.parse_mix(text)


def test_consent_as_written() -> None:
    assert Consent.parse("unknown") == Consent()
    assert str(Consent()) == "unknown"
    given = Consent.parse(" Anna Meier; 2026-05-01 ;audiobooks")
    assert given == Consent("Anna Meier", "2026-05-01", "audiobooks")
    assert str(given) == "Anna Meier, 2026-05-01, for audiobooks"
    for text in ("", "Anna", "Anna; ; books", "a;b;c;d"):
        with pytest.raises(NemoExtError, match="WHO; WHEN; USE"):
            Consent.parse(text)


def test_how_a_voice_is_told() -> None:
    assert str(make(provenance=Provenance(voices.WITH_THE_BASE))) == "'anna'"
    assert str(make(provenance=Provenance("zero-shot"))) == "'anna' (zero-shot; consent: unknown)"
    assert str(make()) == "'anna' (adapted; consent: Anna, 2026-05-01, for books)"


@pytest.mark.parametrize(
    "table",
    [
        {"a": [1]},
        [["a", [1]], ["a", [1]]],
        [["a", [-1]], ["b", [5]]],
        [["a", [2.0]]],
        [["a", [True]]],
        [["a", ["2"]]],
        [["a", [2], 0]],
        [[7, [2]]],
        [["a", [1 << 20, 1 << 20]]],
        [["a", [1] * 9]],
        [["x" * 1000, [1]]],
        [[f"{i}", [1]] for i in range(10_001)],
    ],
)
def test_a_layout_is_a_list_of_names_and_sizes(table: Any) -> None:
    with pytest.raises(NemoExtError, match="it: "):
        VoiceLayout.from_list(table, "it")


@pytest.mark.parametrize("change", [{"recordings": -1}, {"seconds": -1.0}, {"steps": -5}, {"recordings": True}])
def test_counts_of_a_header_are_counts(change: dict[str, Any], tmp_path: Path) -> None:
    voice = make()
    voice.provenance = dataclasses.replace(voice.provenance, **change)
    voices.save(voice, tmp_path / "a.voice")
    with pytest.raises(NemoExtError, match=next(iter(change))):
        voices.load(tmp_path / "a.voice")


def test_memory_of_a_process_is_no_voice() -> None:
    """A regular file, says the system, of no size, which cannot be read."""
    with pytest.raises(NemoExtError, match=r"voice file .*/mem cannot be (read|opened)"):
        voices.load("/proc/self/mem")
