import platform

import pytest

from segment_concept.runtime import cpu_memory as allocator

keep = allocator.keep_freed_memory.__wrapped__  # each call anew


@pytest.fixture(autouse=True)
def _untold(monkeypatch):
    for name in ("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GLIBC")
def test_glibc_takes_every_setting():
    assert keep()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("asked all the same"))
    assert not keep()


def test_allocation_settings_of_the_environment_are_respected(monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "65536")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("asked all the same"))
    assert not keep()


@pytest.mark.parametrize(
    ("name", "number"), [("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256"), ("LRU_CACHE_CAPACITY", "16")]
)
def test_few_programs_are_kept_unless_a_number_is_set(monkeypatch, name, number):
    monkeypatch.delenv(name, raising=False)
    allocator.keep_few_programs()
    assert allocator.os.environ[name] == number
    monkeypatch.setenv(name, "50")
    allocator.keep_few_programs()
    assert allocator.os.environ[name] == "50"
