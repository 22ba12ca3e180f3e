"""Results -> the page, and the same figures as a table in Markdown."""

from __future__ import annotations

import math
import platform
from pathlib import Path

from nemo_ext.demo.measure import KINDS, Results, Spoken
from nemo_ext.demo.page import Chart, Clip, Figure, Line, Page, Phase
from nemo_ext.evaluation.identify import METHOD
from nemo_ext.evaluation.mcd import VARIANT
from nemo_ext.machine import cores

IDENTIFIED = 0.95  # at least
MCD_RATIO = 1.5  # at most
BOUNDARY_MS = 25.0  # at most
LABELS = {"speech": "Speech", "copy": "Copy synthesis", "reading": "Reading"}


def figures(results: Results) -> list[Figure]:
    """Every figure with its bound; a figure that could not be measured is missed, not left out."""
    total, heard, aligned = len(results.sentences), results.identified, results.aligned
    speech, copied = results.mean_mcd(), results.mean_mcd(copy=True)
    ratio = speech / copied
    failed = [f"{s.key}: {reason}" for s in [*results.sentences, *results.newcomer] for reason in s.failed]
    failed += [f"{name}: {reason}" for name, reason in aligned.failed.items()]
    return [
        Figure(
            "sentences found among the readings (smoke test)",
            f"{heard} of {total}",
            f"at least {IDENTIFIED:.0%}",
            heard >= IDENTIFIED * total > 0,
            f"each looked up among espeak-ng's readings of all {_per_voice(results)} in that voice",
            METHOD,
        ),
        Figure(
            "distortion, speech over copy synthesis",
            f"{ratio:.2f} ×",
            f"at most {MCD_RATIO:g} ×",
            ratio <= MCD_RATIO,
            f"{speech:.2f} dB against {copied:.2f} dB, both to the reading; MCD-DTW, pymcd's variant",
            VARIANT,
        ),
        Figure(
            "median boundary error",
            f"{aligned.median_ms:.1f} ms",
            f"at most {BOUNDARY_MS:g} ms",
            aligned.median_ms <= BOUNDARY_MS,
            f"of {aligned.boundaries:,} learned phoneme starts against those that espeak-ng itself reports",
            f"{aligned.utterances} utterances of the corpus, training and validation",
        ),
        Figure(
            "phonemes that could be matched",
            _percent(aligned.boundaries / max(aligned.phonemes, 1)),
            detail="the rest is spelled otherwise by text and audio; it is in no error",
        ),
        Figure("boundaries within 50 ms", _percent(aligned.within_50_ms)),
        Figure(
            "bias of the boundaries",
            f"{aligned.bias_ms:+.1f} ms",
            detail="median signed error; above 0 the model is late",
        ),
        Figure("soft attention near the path", _percent(aligned.focus), detail="share within 3 frames"),
        Figure(
            "speaking",
            f"{1 / results.real_time_factor:.0f} × real time",
            detail="text to audio, on the processor, sentence by sentence",
        ),
        *_newcomer(results.newcomer),
        Figure("measurements that failed", str(len(failed)), detail="; ".join(failed[:5]) or "none"),
    ]


def _newcomer(spoken: list[Spoken]) -> list[Figure]:
    """How well the adapted voice came out; nothing when there is none."""
    if not spoken:
        return []
    name = spoken[0].voice
    pairs = [(s.mcd, s.mcd_before) for s in spoken if s.mcd is not None and s.mcd_before is not None]
    after, before = (sum(p[i] for p in pairs) / len(pairs) if pairs else math.nan for i in (0, 1))
    moved = [s.semitones for s in spoken if s.semitones is not None and not math.isnan(s.semitones)]
    return [
        Figure(
            f"{name}, a voice of two minutes: heard as itself",
            f"{sum(s.heard == s.text for s in spoken)} of {len(spoken)}",
            detail="unseen sentences, looked up as above",
        ),
        Figure(
            f"{name}: distortion",
            f"{after:.2f} dB",
            detail=f"{before:.2f} dB when the nearest base voice speaks instead; both to {name}'s reading",
            how=VARIANT,
        ),
        Figure(
            f"{name}: pitch",
            f"{sum(moved) / len(moved):+.1f} semitones" if moved else "not measured",
            detail="median F0 of the speech against that of the reading, mean over sentences",
        ),
    ]


def page(
    results: Results, charts: list[Chart], phases: list[Phase], facts: list[tuple[str, str]], command: str, shown: int
) -> Page:
    """The page of ``results``; ``shown`` sentences of each voice come with pictures."""
    voices = list(dict.fromkeys(s.voice for s in results.sentences))
    lines = {s.key: _line(s) for s in results.sentences}
    first = [s.key for i in range(shown) for voice in voices for s in _of(results, voice)[i : i + 1]]
    count, minutes = len(voices) + bool(results.newcomer), sum(phase.seconds for phase in phases) / 60
    return Page(
        title=f"{_number(count).capitalize()} voices, made from nothing in {minutes:.0f} minutes",
        lead=(
            "A corpus was made on this machine, a FastPitch and a vocoder were trained on it, one more voice was "
            "adapted, and here they speak sentences that they never saw. Nothing was downloaded; the corpus is read by "
            "espeak-ng, a formant synthesizer, so it sounds like one. On your own recordings the same commands learn "
            "your voice."
        ),
        voices=voices,
        figures=figures(results),
        shown=[lines[key] for key in first],
        newcomer=[_line(s) for s in results.newcomer[:shown]],
        styles=_styles(results),
        controls=[_otherwise(results)] if results.otherwise else [],
        sentences=list(lines.values()),
        alignments=[Chart(**picture) for picture in results.aligned.pictures],
        curves=charts,
        phases=phases,
        facts=facts,
        command=command,
    )


def markdown(results: Results, phases: list[Phase]) -> list[str]:
    """The figures as paragraphs of a benchmark page."""
    rows = [
        f"| {f.name} | {f.value} | {f.bound or '–'} | {'' if f.met is None else 'met' if f.met else '**missed**'} "
        f"| {f.detail}{'; ' if f.detail and f.how else ''}{f.how} |"
        for f in figures(results)
    ]
    spent = [f"| {p.name} | {p.seconds:.1f} | {p.processor_seconds:.1f} | {p.what} |" for p in phases]
    in_all = f"{sum(p.seconds for p in phases):.1f} | {sum(p.processor_seconds for p in phases):.1f}"
    confused = [
        f"- “{s.text}” in the voice {s.voice} was taken for “{s.heard}”"
        for s in results.sentences
        if s.heard and s.heard != s.text
    ]
    return [
        "\n".join(["| figure | measured | wanted | | how |", "| --- | --- | --- | --- | --- |", *rows]),
        "One sentence told otherwise, asked for and measured in the audio:",
        "\n".join(f"- {s.text}" for s in results.otherwise),
        "The same sentence in every voice and style:",
        "\n".join(f"- {s.voice}, {s.text}" for s in results.styles) or "- none",
        "Sentences that were not found among the readings:",
        "\n".join(confused) if confused else "- none",
        "\n".join(
            [
                "| phase | seconds | processor seconds | what |",
                "| --- | --- | --- | --- |",
                *spent,
                f"| in all | {in_all} | |",
            ]
        ),
    ]


def machine() -> str:
    """What this computer is, in words."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{cores()} cores of {name}"


def _line(s: Spoken) -> Line:
    clips = [Clip(LABELS[k], f"audio/{s.key}-{k}.wav", f"pictures/{s.key}-{k}.png", s.seconds[k]) for k in KINDS]
    return Line(s.text, s.voice, clips, s.heard, s.mcd, s.mcd_copy, "; ".join(s.failed))


def _styles(results: Results) -> list[Line]:
    """One line a voice, with a clip for each of its styles."""
    lines = []
    for voice in dict.fromkeys(s.voice for s in results.styles):
        clips = [
            Clip(s.text, f"audio/{s.key}-speech.wav", f"pictures/{s.key}-speech.png", s.seconds["speech"])
            for s in results.styles
            if s.voice == voice
        ]
        lines.append(Line(results.sentences[0].text, voice, clips))
    return lines


def _otherwise(results: Results) -> Line:
    clips = [
        Clip(s.text, f"audio/{s.key}-speech.wav", f"pictures/{s.key}-speech.png", s.seconds["speech"])
        for s in results.otherwise
    ]
    original = results.sentences[0]
    return Line(original.text, original.voice, clips)


def _of(results: Results, voice: str) -> list[Spoken]:
    return [s for s in results.sentences if s.voice == voice]


def _per_voice(results: Results) -> int:
    return len(_of(results, results.sentences[0].voice)) if results.sentences else 0


def _percent(share: float) -> str:
    return "not measured" if math.isnan(share) else f"{share:.1%}"


def _number(count: int) -> str:
    return {1: "one", 2: "two", 3: "three", 4: "four"}.get(count, str(count))
