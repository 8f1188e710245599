"""Tables of cases: what spreadsheets leave in them is passed over, and what cannot be a table is named."""

import pytest

from NNMambaLib.errors import VolumeError
from NNMambaLib.evaluation.cases import case_rows

EXPECTED = {"a": {"class": "T1"}, "b": {"class": ""}}


@pytest.mark.parametrize(
    "text",
    [
        "case,class\na,T1\nb,\n",
        "\ufeffcase,class\r\na,T1\r\nb,\r\n",
        " case , class \n a , T1 \n b , \n",
        "case,class\n\na,T1\n,\n  ,  \nb\n\n",
        "case,class,,\na,T1,,\nb,,,\n",
        '"case","class"\n"a","T1"\n"b",""\n',
    ],
    ids=["plain", "as Windows saves it", "blanks", "empty rows", "empty columns", "quotes"],
)
def test_what_a_spreadsheet_leaves_is_passed_over(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    assert case_rows(path) == EXPECTED


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("case,class\na," + "x" * 200_000, "is not a table (field larger than field limit"),
        ("case,class\na,T1,T2\n", "has more cells in line 2 than columns: quote cells that hold a comma."),
        ("case,class\n,T1\n", "names no case in line 2: name it, or remove the line."),
        ("case,class,class\na,T1,T2\n", "or 'class' for two: name each differently."),
        ("case,,class\na,,T2\n", "has no name for a column"),
        ("case,class\na,T1\na ,T2\n", "has two rows for the case 'a': remove one."),
        ("case," + "," * 4_000_000, "lacks the column 'case' or has no rows"),
        (
            ",".join(map(str, range(400_000))) + "\na\nb\n",
            "has 3 rows of 400,000 columns, more than 1,000,000 cells: leave",
        ),
        ("\n".join(["case,b,c", *(f"{n},a" for n in range(400_000))]), "has 400,001 rows of 3 columns, more than"),
        ("case;class\na;T1\n", "separates its columns by semicolons: save it as CSV with commas."),
        ('"case"\t"class"\na\tT1\n', "separates its columns by tabs: save it as CSV with commas."),
        ("\n\n", "lacks the column 'case' or has no rows"),
    ],
)
def test_what_cannot_be_a_table_is_named(tmp_path, text, sentence):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(VolumeError) as error:
        case_rows(path)
    assert str(error.value).startswith(f"{path} ")
    assert sentence in str(error.value)
