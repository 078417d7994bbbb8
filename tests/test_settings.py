"""Settings from the environment."""

import pytest

from chainrule import settings


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({}, 8),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "64"}, 8),
        ({"OMP_NUM_THREADS": "2,1"}, 8),
        ({"OMP_NUM_THREADS": "0"}, 8),
        ({"OMP_NUM_THREADS": "2", "CHAINRULE_NUM_THREADS": "4"}, 4),
        ({"CHAINRULE_NUM_THREADS": "16"}, 16),
    ],
)
def test_threads(variables: dict[str, str], threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """joblib limits its processes by OMP_NUM_THREADS; what is said to chainrule itself counts more."""
    monkeypatch.setattr(settings, "usable_cpus", lambda: 8)
    for name in ("OMP_NUM_THREADS", "CHAINRULE_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert settings.from_environment().threads == threads
