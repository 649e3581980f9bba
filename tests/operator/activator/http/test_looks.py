"""The looks of the waiting page, from files that the kubelet mounts."""

import os

from kotatsu_operator.activator.http.waiting_page import LIMIT, look


def mounted(folder, text, at=1):
    """A ConfigMap `brand` with this style sheet."""
    file = folder / "brand" / "page.css"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text)
    os.utime(file, ns=(at, at))
    return look(folder, "brand")


def test_a_look_is_the_style_sheet_of_its_configmap_and_follows_its_edits(tmp_path):
    assert mounted(tmp_path, b"main { color: red }\n") == "main { color: red }"
    assert mounted(tmp_path, b"main { color: blue }", at=2) == "main { color: blue }"


def test_the_pages_own_look_is_kept_where_there_is_no_usable_other(tmp_path):
    assert look(tmp_path, "default") is None
    assert look(tmp_path, "brand") is None
    for text in (b"</style><script>", b"\xff", b"x" * (LIMIT + 1)):
        assert mounted(tmp_path, text, at=len(text)) is None


def test_a_name_leads_to_no_other_folder(tmp_path):
    (tmp_path / "page.css").write_text("secret")
    assert look(tmp_path / "looks", "..") is None
    assert look(tmp_path / "looks", "../") is None
