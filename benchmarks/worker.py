"""The process of one contestant: sets it up, then measures as often as each line on standard input asks."""

from __future__ import annotations

import json
import os
import sys
import traceback

from .harness import find


def main(benchmark: str, contestant: str) -> None:
    """Answer with one line of JSON when ready and one per request; whatever else is printed goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def reply(**message: object) -> None:
        replies.write(json.dumps(message) + "\n")

    try:
        measure = find(benchmark).contestants[contestant]()
        measure()
        reply()
        for line in sys.stdin:
            measure()
            reply(values=[measure() for _ in range(int(line))])
    except ModuleNotFoundError as error:
        reply(absent=error.name)
    except Exception as error:
        traceback.print_exc()
        reply(error="".join(traceback.format_exception_only(error)).partition("\n")[0])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
