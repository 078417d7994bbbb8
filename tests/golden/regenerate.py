"""Write the stored programs anew: ``python -m tests.golden.regenerate``, then read what ``git diff`` says.

A change of the compiler that is meant to change programs changes these files in the same commit. One that is not meant
to, such as a refactoring, leaves them alone, and so has proved itself.
"""

from tests.golden.programs import FOLDER, PROGRAMS, stored_texts


def main() -> None:
    """Write every file, and say which have changed."""
    for name in PROGRAMS:
        for file, text in stored_texts(name).items():
            path = FOLDER / file
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                print(f"changed: {path}")


if __name__ == "__main__":
    main()
