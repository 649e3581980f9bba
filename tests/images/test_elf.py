"""Which libraries a file needs is read from the file."""

from images.conftest import library
from rows import each

import elf


@each("names", [set(), {"libc.so.6"}, {"libc.so.6", "libcap.so.2"}])
def test_the_libraries_are_those_that_the_file_names(names):
    assert elf.needed(library(*names)) == names


@each("file", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01 of 32 bits"])
def test_other_files_need_none(file):
    assert elf.needed(file) == set()
