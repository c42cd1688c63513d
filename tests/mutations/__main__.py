"""`python -m tests.mutations [TABLE | TABLE:NAME ...]`: exit status 1 where a mutation is not noticed."""

import sys
import time

from tests.mutations import MutationError, check_noticed, check_unbroken, read_tables


def main(names: list[str]) -> int:
    """Make the mutations one after another and say which test noticed each."""
    unnoticed = 0
    try:
        mutations = read_tables(names)
        check_unbroken(mutations)
    except MutationError as error:
        print(error, file=sys.stderr)
        return 1
    for mutation in mutations:
        started = time.monotonic()
        try:
            said = f"noticed by {check_noticed(mutation)}"
        except MutationError as error:
            unnoticed += 1
            said = f"NOT NOTICED: {error}"
        print(f"{mutation.full_name:40} {time.monotonic() - started:5.1f} s  {said}", flush=True)
    print(f"{len(mutations) - unnoticed} of {len(mutations)} mutations are noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
