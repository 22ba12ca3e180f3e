"""Files that somebody else may have written: read within limits, or refused in one line."""

import os

import pytest

from nemo_ext import untrusted
from nemo_ext.errors import NemoExtError


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(NemoExtError, match="no regular file"):
            untrusted.open_regular(path)
    with pytest.raises(NemoExtError, match="no manifest at"):
        untrusted.open_regular(tmp_path / "missing", "manifest")
    with pytest.raises(NemoExtError, match="cannot be opened"):
        untrusted.open_regular("a\0b")


def test_a_file_is_read_to_its_limit_only(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert untrusted.read_bytes(file, 5) == b"12345"
    with pytest.raises(NemoExtError, match="more than 4 bytes"):
        untrusted.read_bytes(file, 4)


def test_a_file_that_says_it_is_empty_is_read_all_the_same():
    """As those under /proc do, and a file that another process is still writing to may."""
    assert untrusted.read_bytes("/proc/self/status", 1 << 20).startswith(b"Name:")
    with pytest.raises(NemoExtError, match="more than 4 bytes"):
        untrusted.read_bytes("/proc/self/status", 4)


def test_text_is_utf8_without_its_mark_and_lines_end_at_line_feeds_only(tmp_path):
    file = tmp_path / "file"
    file.write_bytes("\ufeffeins\r\nzwei\u2028drei\x0bvier\n".encode())
    assert untrusted.read_lines(file) == ["eins", "zwei\u2028drei\x0bvier"]
    file.write_bytes(b"a\nb\n\xff")
    with pytest.raises(NemoExtError, match="line 3: not UTF-8"):
        untrusted.read_text(file)
    file.write_text("a" * (1 << 20) + "b")
    with pytest.raises(NemoExtError, match="line 1: longer"):
        untrusted.read_lines(file)


@pytest.mark.parametrize("text", ["NaN", "[1e999]", "-Infinity", "[" * 100_000, "{", '{"a": 1,}'])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(NemoExtError, match=r"^it: not valid JSON"):
        untrusted.parse_json(text, "it")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("[" * 100 + "]" * 100, "nested more than 60"),
        ("[" * 100_000, "nested more than 60"),
        ("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
         + "\n".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]" for i in range(8)),
         "more than 100000 values"),
        ("&a [*a]", "more than 100000 values"),
        ("a: [", "not valid YAML"),
        ("2001-99-99", "not valid YAML"),
    ],
)  # fmt: skip
def test_yaml_that_builds_objects_or_huge_documents_is_refused(text, why):
    with pytest.raises(NemoExtError, match=why):
        untrusted.parse_yaml(text, "it")


def test_plain_yaml_is_read():
    assert untrusted.parse_yaml("a: &x [1, 2.5]\nb: *x", "it") == {"a": [1, 2.5], "b": [1, 2.5]}


def test_values_are_of_their_kind_and_range():
    assert untrusted.number(2, "it", 0, 2) == 2.0
    assert untrusted.whole_number(2, "it", 0, 2) == 2
    assert untrusted.string("ä", "it", 1) == "ä"
    for value in (float("nan"), float("inf"), 3, -1):
        with pytest.raises(NemoExtError, match=r"it=.* is outside 0 to 2"):
            untrusted.number(value, "it", 0, 2)
    for value in (True, "1", None, [1]):
        with pytest.raises(NemoExtError, match="not a number"):
            untrusted.number(value, "it")
        with pytest.raises(NemoExtError, match="not a whole number"):
            untrusted.whole_number(value, "it")
    with pytest.raises(NemoExtError, match="1 and above"):
        untrusted.whole_number(0, "it", 1)
    with pytest.raises(NemoExtError, match="more than 2"):
        untrusted.string("abc", "it", 2)


def test_a_name_does_not_leave_its_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out.txt").touch()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out.txt")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in" / "loop")
    assert untrusted.inside(tmp_path / "in", "a/b.wav", "it") == tmp_path / "in" / "a" / "b.wav"
    for name in ("../out.txt", "/etc/passwd", "link", "a/../../out.txt", "", "a\0", "loop", 3):
        with pytest.raises(NemoExtError, match=r"^it"):
            untrusted.inside(tmp_path / "in", name, "it")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x: !!pairs [a: {_target_: os.system}]", "holds a tuple"),
        ("x: !!omap [a: 1]", "holds a tuple"),
        ("x: !!set {a}", "holds a set"),
        ("x: !!binary aGVsbG8=", "holds a bytes"),
        ("x: 2026-05-01", "holds a date"),
        ("m: &m {k: 1}\nx: {<<: *m}", "merges tables"),
        ("x: {!!merge a: {b: 1}}", "merges tables"),
        ("x: 0x" + "f" * 9000, "9002 characters"),
        ("x: " + ":".join(["1"] + ["59"] * 9000), "characters"),
    ],
)
def test_yaml_holds_plain_values_only_and_none_without_end(text, why):
    with pytest.raises(NemoExtError, match=why) as raised:
        untrusted.parse_yaml(text, "it")
    assert "\n" not in str(raised.value)


def test_merging_does_not_grow_without_end():
    levels = "".join(f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}\n" for i in range(1, 31))
    with pytest.raises(NemoExtError, match="merges tables"):
        untrusted.parse_yaml("m0: &m0 {k: 1}\n" + levels, "it")


def test_numbers_too_large_to_write_out_are_one_line():
    huge = 10**5000
    with pytest.raises(NemoExtError, match="beyond any"):
        untrusted.number(huge, "it")
    with pytest.raises(NemoExtError, match="too large to write out"):
        untrusted.whole_number(huge, "it")
    assert untrusted.shown([huge]) == "a list too large to write out"
