"""Label files: one a line, commas and Chinese and all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle import BundleError
from bundle.labels import check_count, read_labels


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n  \n"])
def test_one_a_line(tmp_path: Path, encoding: str, newline: str, end: str) -> None:
    text = "可回收物/纸板\n  tench, Tinca tinca  \n0 a  b" + end
    (tmp_path / "labels.txt").write_bytes(text.replace("\n", newline).encode(encoding))
    assert read_labels(tmp_path / "labels.txt") == (
        "可回收物/纸板",
        "tench, Tinca tinca",
        "0 a  b",
    )


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("l.txt", "0 tench, Tinca tinca\n1 b\n", ("tench, Tinca tinca", "b")),
        ("l.txt", "1\tb\n0\t可回收物/纸板\n", ("可回收物/纸板", "b")),
        ("l.txt", "5 yuan\n10 yuan\n", ("5 yuan", "10 yuan")),
        ("l.txt", "9" * 5000 + " a\n0 b\n", ("9" * 5000 + " a", "0 b")),
        ("l.txt", "n01440764 tench, Tinca tinca\nn01443537 goldfish\n",
         ("tench, Tinca tinca", "goldfish")),
        ("l.txt", "[a]\n[b]\n", ("[a]", "[b]")),
        ("l.json", '{"1": "b", "0": "其他垃圾/烟蒂"}', ("其他垃圾/烟蒂", "b")),
        ("l.json", '["a", "b, c"]', ("a", "b, c")),
        ("l.json", '{"paper": 1, "glass": 0}', ("glass", "paper")),
        ("garbage_classify_rule.txt", '\n {"0": "a", "1": "b"}', ("a", "b")),
        ("l.yml", "- a\n- '0'\n- b, c\n", ("a", "0", "b, c")),
        ("l.yaml", "0: a\n1: b\n", ("a", "b")),
        ("l.yml", "- 5\n- 10\n", ("5", "10")),
        ("l.json", "[0, 90]", ("0", "90")),
        ("l.json", '{"0": "1", "1": "0"}', ("1", "0")),
        ("l.json", '{"0": 0, "1": 1}', ("0", "1")),
        ("l.json", '{"0": 5, "1": 10}', ("5", "10")),
        ("l.json", '{"0": 0, "1": 1, "10": 2, "2": 3}', ("0", "1", "10", "2")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_forms(
    tmp_path: Path, name: str, text: str, labels: tuple[str, ...], encoding: str
) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert read_labels(tmp_path / name) == labels


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("l.json", '{"0": "a", "2": "b"}', "class number 1 is missing"),
        ("l.json", '{"0": "a", "0": "b"}', "'0' is given twice"),
        ("l.json", '{"a": 0, "b": 0}', "class number 0 is given twice"),
        ("l.json", '{"a": "b"}', "must hold a list of labels"),
        ("l.json", '["a"', "cannot be read as JSON"),
        ("l.json", "[" * 100_000, "levels deep"),
        ("l.json", '["a", 1.0]', "the label of class 1 is 1.0, not text; put it in quotes"),
        ("l.json", '["a", true]', "the label of class 1 is True, not text"),
        ("l.json", '["a", null]', "the label of class 1 is None, not text"),
        ("l.json", '["a", -0]', "the label of class 1 is -0.0, not text"),
        ("l.json", '["a", " "]', "the label of class 1 is empty; write its name"),
        ("l.json", '{"0": 0, "1": 1, "2": 3, "3": 2}', "numbers for numbers"),
        ("l.json", '{"0": 1, "1": 0}', "numbers for numbers"),
        ("l.json", "[]", "l.json"),
        ("l.json", "{}", "empty"),
        (
            "l.yml",
            "- a\n- no\n",
            "l.yml line 2: the label of class 1 is no, which YAML reads as a tr",
        ),
        (
            "l.yml",
            "0: a\n1: 0x1F\n",
            "line 2: the label of class 1 is 0x1F, which YAML reads as a n",
        ),
        ("l.yml", "yes: 1\nno: 0\n", "line 1: the label of class 1 is yes, which YAML reads as"),
        ("l.yml", "- a\n-\n", "line 2: the label of class 1 is empty"),
        ("l.yml", "a: [\n", "cannot be read as YAML"),
        ("l.yml", "- !!timestamp abc\n", "does not fit its tag"),
        ("l.yml", "- !!bool abc\n", "does not fit its tag"),
        ("l.yml", "- " + "9" * 5000 + "\n", "l.yml"),
        ("l.json", '["a", "\\ud800"]', "class 1 has an escape .* that is no character"),
        ("l.yml", '- "\\ud800"\n', "class 0 has an escape .* that is no character"),
        ("l.json", '{"²": "a"}', "must hold a list of labels"),
        ("l.yml", "text", "must hold a list of labels"),
    ],
)
def test_documents_that_are_wrong(tmp_path: Path, name: str, text: str, cause: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=cause):
        read_labels(tmp_path / name)


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "labels.txt").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"x")
    with pytest.raises(BundleError, match=r"labels\.txt is larger than 16 MiB"):
        read_labels(tmp_path / "labels.txt")


def test_the_embedded_labels(root: Path) -> None:
    if not (root / "labels/waste.txt").is_file():
        pytest.skip("labels/waste.txt is not there")
    assert len(read_labels(root / "labels/waste.txt")) == 6


def test_the_imagenet_list(shared: Path) -> None:
    labels = read_labels(shared / "models/synset_words.txt")
    assert len(labels) == 1000
    assert labels[0].endswith("tench, Tinca tinca")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "empty|no label"),
        (b"\n \n", "empty|no label"),
        (b"a\n\nb\n", "line 2"),
        (b"a\r\n\r\n\r\nb", "line 2"),
        ("a\n纸板\n".encode("utf-16"), "UTF-16"),
        ("a\n纸板\n".encode("utf-16-le"), "UTF-16"),
        ("a\n".encode("utf-32"), "UTF-32"),
        ("玻璃\n塑膠瓶\n廚餘\n".encode("big5"), "looks like GBK with rare .*line 1"),
        ("a\ncafé\nMüll\n".encode("latin-1"), "neither UTF-8 nor GBK .line 2"),
        ("ガラス\n".encode("shift-jis"), "looks like GBK with rare characters, or like another"),
        ("\ufeffa\n".encode() + "纸板\n".encode("gbk"), "neither UTF-8 nor GBK .line 2"),
        (b"0 a\n1 b\n1 c\n", "class number 1 is given twice"),
        (b"0 a\n1 b\n3 c\n", "class number 2 is missing"),
        (b"1 a\n2 b\n3 c\n", "class number 0 is missing; count from 0"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(BundleError, match=cause) as error:
        read_labels(tmp_path / "labels.txt")
    assert "labels.txt" in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.txt"):
        read_labels(tmp_path / "none.txt")


def test_the_count_must_fit() -> None:
    check_count(("a", "b"), 2, "here")
    check_count(("a", "b"), -1, "here")
    with pytest.raises(BundleError, match=r"here.*too few"):
        check_count(("a", "b"), 3, "here")
    with pytest.raises(BundleError, match=r"here.*too many"):
        check_count(("a", "b"), 1, "here")
    with pytest.raises(BundleError, match="has 1 label, too few"):
        check_count(("a",), 3, "here")


_SEPARATORS = (",", ", ", ":", ": ", ";", "：", "、", "，", ".", ". ", "|", ")", "\u3000", "\xa0")


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("separator", _SEPARATORS)
def test_numbers_of_a_table_are_no_part_of_a_label(
    separator: str, first: int, tmp_path: Path
) -> None:
    file = tmp_path / "labels.csv"
    names = ("tench", "goldfish", "white shark, man-eater")
    file.write_text(
        "".join(f"{at}{separator}{name}\n" for at, name in enumerate(names, first)),
        encoding="utf-8",
    )
    text = r"begin with the class number and .*; write '0 name', with a plain space"
    with pytest.raises(BundleError, match=text):
        read_labels(file)


@pytest.mark.parametrize("text", ["a 0\nb 1\nc 2", "a\t2\nb\t0\nc\t1", "a,1\nb,2\nc,3"])
def test_numbers_behind_the_names_are_no_part_of_a_label(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(BundleError, match="lines end with the class number; write '0 name'"):
        read_labels(tmp_path / "labels.txt")


@pytest.mark.parametrize(
    "labels",
    [
        ("6, 7", "8, 9"),
        ("0:00", "1:00"),
        ("0.5", "1.5"),
        ("1-room flat", "2-room flat"),
        ("0", "1", "2"),
        ("0", "1", "2 or more"),
        ("grade 0", "grade 1", "grade 2"),
        ("room 3", "flat 5"),
        ("5 yuan", "10", "20 yuan"),
    ],
)
def test_numbers_that_belong_to_the_labels(labels: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    assert read_labels(tmp_path / "labels.txt") == labels


@pytest.mark.parametrize("text", ["0 a\n1\n2 c", "1 a\n2\n3 c", "0 a\n1 \n2 c", "0: a\n1\n2: c"])
def test_a_number_without_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(BundleError, match=r"txt line 2: the class number \d has no name; write"):
        read_labels(tmp_path / "labels.txt")


@pytest.mark.parametrize("text", ["可回收物\n廚餘垃圾\n其他垃圾", "镕\n堃\n喆", "㐂乐\n其他"])
def test_rare_characters_of_gbk_are_not_called_something_else(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(text.encode("gb18030"))
    with pytest.raises(BundleError, match=r"looks like GBK with rare char.*; save it as UTF-8"):
        read_labels(tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Стекло\nБумага\nМеталл", "cp1251"),
        ("Стекло\nБумага\nМеталл", "koi8-r"),
        ("유리\n종이\n금속", "euc-kr"),
        ("비닐\n플라스틱\n캔\n사과", "euc-kr"),
    ],
)
def test_words_of_another_encoding_are_shown_as_they_were_read(
    text: str, encoding: str, tmp_path: Path
) -> None:
    """They pass for common Chinese characters: a person sees that they are no labels."""
    (tmp_path / "labels.txt").write_bytes(text.encode(encoding))
    warnings: list[str] = []
    labels = read_labels(tmp_path / "labels.txt", warnings.append)
    (warning,) = warnings
    assert f"is not UTF-8 and was read as GBK: {', '.join(labels)}; if" in warning
    assert warning.endswith("save it as UTF-8")


def test_only_the_first_labels_of_a_long_list_are_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "labels.txt").write_bytes("\n".join("猫狗鸟鱼牛羊").encode("gbk"))
    assert len(read_labels(tmp_path / "labels.txt")) == 6
    assert "GBK: 猫, 狗, 鸟, 鱼, 牛 ...; if these are not" in caplog.text


def test_utf_8_needs_no_look(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("猫\n狗\n", encoding="utf-8-sig")
    warnings: list[str] = []
    assert read_labels(tmp_path / "labels.txt", warnings.append) == ("猫", "狗")
    assert warnings == []


@pytest.mark.parametrize(
    "labels",
    [
        ("猫", "狗"),
        ("鸡蛋", "苹果", "白菜"),
        ("飞机", "汽车", "鸟"),
        ("雏菊", "蒲公英", "玫瑰", "向日葵", "郁金香"),
        ("正常", "肺炎"),
        ("笤帚", "镊子"),
    ],
)
def test_short_lists_in_gbk(labels: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\r\n".join(labels).encode("gbk"))
    assert read_labels(tmp_path / "labels.txt") == labels


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="Is a directory; give a text file"):
        read_labels(tmp_path)
