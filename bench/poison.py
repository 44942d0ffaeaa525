"""`python -m bench.poison`: hostile sequences against every policy and estimator, and what was found.

For each: sequences played, odd calls accepted, and sequences after which plain calls fail. The exit status
is 1 if there are any of these.
"""

from __future__ import annotations

import argparse
import sys
import warnings

from tests.policies.hostile import sequences


def main() -> int:
    """Play and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.poison", description=__doc__)
    parser.add_argument("--sequences", type=int, default=10_000, help="for each policy and estimator")
    parser.add_argument("--first", type=int, default=0, help="number of the first: it is the seed")
    parser.add_argument("--only", action="append", help="this policy or estimator alone; may be repeated")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)
    print(f"{'policy or estimator':32}{'sequences':>10}{'accepted':>10}{'failed':>8}")
    failed_in_all = 0
    for name, play in sequences():
        if options.only and name not in options.only:
            continue
        accepted, complaints = 0, []
        for number in range(options.first, options.first + options.sequences):
            try:
                accepted += play(number)
            except AssertionError as error:
                complaints.append(str(error))
        print(f"{name:32}{options.sequences:>10}{accepted:>10}{len(complaints):>8}", flush=True)
        for complaint in complaints[:3]:
            print(f"    {complaint[:500]}")
        failed_in_all += len(complaints)
    return 1 if failed_in_all else 0


if __name__ == "__main__":
    sys.exit(main())
