import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from learner.files import digest, write_array, write_arrays, write_atomically, write_json


def test_it_writes_what_it_is_given_and_makes_the_folder(tmp_path):
    path = write_json(tmp_path / "a" / "b" / "c.json", {"x": 1})
    assert json.loads(path.read_text()) == {"x": 1}
    assert [each.name for each in path.parent.iterdir()] == ["c.json"]


def test_arrays_come_back_equal(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(np.load(write_array(tmp_path / "a.npy", array.transpose(2, 0, 1))), array.transpose(2, 0, 1))
    with np.load(write_arrays(tmp_path / "a.npz", {"x": array})) as file:
        assert np.array_equal(file["x"], array)


def test_objects_are_refused_since_they_need_pickle(tmp_path):
    with pytest.raises(ValueError, match=r"pickle|Object"):
        write_array(tmp_path / "a.npy", np.array([object()]))
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_raises_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = write_json(tmp_path / "a.json", {"old": True})

    def write(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, write)
    assert json.loads(path.read_text()) == {"old": True}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_process_killed_in_the_middle_leaves_no_file_that_is_taken_for_whole(tmp_path):
    program = (
        "import os, signal, sys, pathlib\n"
        "from learner.files import write_atomically\n"
        "def write(file):\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(pathlib.Path(sys.argv[1]), write)\n"
    )
    path = tmp_path / "scores" / "000000.npz"
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    assert list(path.parent.glob("*.npz")) == []


def test_the_digest_sees_values_and_order():
    one, two = np.arange(3), np.arange(3) + 1
    assert digest(one, two) == digest(one.copy(), two.copy())
    assert digest(one, two) != digest(two, one)
