"""Progress on a terminal."""

from numba import njit

from driftline.cli.terminal import _notice_compilation


def test_compilation_is_noticed_when_it_happens():
    said = []
    double = njit(lambda x: 2 * x)
    with _notice_compilation(said.append):
        assert said == []
        double(1)
        double(2)
    assert said == ["Compiling for this machine, once: about ten seconds"]
    double(1.5)
    assert len(said) == 1
