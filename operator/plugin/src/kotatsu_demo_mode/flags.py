"""The flags that several commands share, and the types of their values."""

import argparse
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation


def common_flags(made: argparse.ArgumentParser, *, top: bool = False) -> None:
    """The flags of kubectl, which may stand before or after the command."""

    def add(*names: str, default: object, **more: str) -> None:
        made.add_argument(*names, default=default if top else argparse.SUPPRESS, **more)  # type: ignore[arg-type]

    add("-n", "--namespace", default="", metavar="NAME", help="namespace of the pools")
    add("--context", default="", metavar="NAME", help="context of the kubeconfig")
    add("--kubeconfig", default="", metavar="FILE", help="path of the kubeconfig")


def pool_flags(
    made: argparse.ArgumentParser,
    *,
    everything: bool = True,
    many: bool = True,
    formats: Sequence[str] = ("json", "yaml"),
) -> None:
    """The pools of a command, and the form of its output."""
    number, default = ("*", list[str]()) if many else ("?", None)
    made.add_argument("pools", nargs=number, default=default, metavar="POOL", help="names of pools")
    made.add_argument("-l", "--selector", default="", metavar="SEL", help="pools with these labels")
    if everything:
        made.add_argument(
            "--all", dest="everything", action="store_true", help="all pools of the namespace"
        )
    else:
        made.set_defaults(everything=False)
    if many:
        made.add_argument(
            "-A", "--all-namespaces", action="store_true", help="pools of all namespaces"
        )
    else:
        made.set_defaults(all_namespaces=False)
    made.add_argument("-o", "--output", choices=[*formats], help="output format")
    common_flags(made)


def lambda_flags(made: argparse.ArgumentParser) -> None:
    """The price of provisioned concurrency, to compare with."""
    made.add_argument(
        "--lambda-price",
        type=price,
        metavar="PRICE",
        help="price of a GB-second of provisioned concurrency",
    )
    made.add_argument(
        "--lambda-memory",
        type=price,
        metavar="MiB",
        help="memory of an instance (default: that of a pod)",
    )
    made.add_argument(
        "--lambda-currency", default="", metavar="CODE", help="currency of --lambda-price"
    )


def dry_run_flag(made: argparse.ArgumentParser) -> None:
    """The flag of commands that change something."""
    made.add_argument(
        "--dry-run",
        nargs="?",
        const="server",
        choices=["none", "client", "server"],
        help="change nothing; with `server`, the API server validates the change",
    )


def write_flags(made: argparse.ArgumentParser) -> None:
    """The flags of commands that change pools."""
    dry_run_flag(made)
    made.add_argument(
        "--force-conflicts",
        action="store_true",
        help="take over what another field manager has set",
    )


def count(text: str) -> int:
    """A number of pods or requests."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def days(text: str) -> int:
    """The length of a plan."""
    number = count(text)
    if number > 1098:
        raise argparse.ArgumentTypeError(f"{text} is more than three years")
    return number


def price(text: str) -> Decimal:
    """An amount of money."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount like 0.0000041667")
    return number
