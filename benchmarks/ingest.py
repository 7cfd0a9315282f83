"""Collection from Apache Kafka: values a second to profiles, messages a second through the sampler, overload.

Needs the jars of Apache Kafka (`make kafka-jars`) and Java.
"""

from ingest_overload import measure_overload
from ingest_sampler import measure_sampler
from ingest_values import measure_values
from records import make_parser, report


def main() -> None:
    """Measure and report."""
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it runs")
    parser.add_argument("--only", choices=("values", "sampler", "overload"), help="one part")
    parser.add_argument("--rate", type=int, default=60_000, help="messages a second offered to the sampler")
    parser.add_argument("--overload-minutes", type=float, help="how long the overload lasts (10; quick: 1)")
    options = parser.parse_args()
    quick = options.quick
    minutes = options.overload_minutes or (1 if quick else 10)
    parts = {
        "values": lambda: measure_values(15_000_000 if quick else 300_000_000, 2_000 if quick else 30_000),
        "sampler": lambda: measure_sampler(40 if quick else 90, options.rate),
        "overload": lambda: measure_overload(minutes),
    }
    records = [record for name, part in parts.items() if options.only in (None, name) for record in part()]
    report("From Apache Kafka to profiles", records, options)


if __name__ == "__main__":
    main()
