"""A parser with one line per flag, the flags that commands share, and the types of their values."""

import argparse
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")

    def switch(self, names: str, text: str, dest: str | None = None) -> None:
        """Add a flag without a value."""
        more = {} if dest is None else {"dest": dest}
        self.add_argument(*names.split(), action="store_true", help=text, **more)  # type: ignore[arg-type]

    def value(self, names: str, shown: str, text: str, **more: Any) -> None:
        """Add a flag, or an argument, whose value the help calls `shown`."""
        self.add_argument(*names.split(), metavar=shown, help=text, **more)

    # --- what several commands have ---

    def common(self, *, top: bool = False) -> None:
        """Add the flags of kubectl, which may stand before or after the command."""
        default = "" if top else argparse.SUPPRESS
        self.value("-n --namespace", "NAME", "namespace of the pools", default=default)
        self.value("--context", "NAME", "context of the kubeconfig", default=default)
        self.value("--kubeconfig", "FILE", "path of the kubeconfig", default=default)

    def output(self, *formats: str) -> None:
        """Add the form of the output."""
        self.add_argument("-o", "--output", choices=[*formats], help="output format")

    def pools(
        self, *, everything: bool = True, many: bool = True, formats: Sequence[str] = ()
    ) -> None:
        """Add the pools of a command, and the form of its output."""
        self.set_defaults(everything=False, all_namespaces=False)
        number, default = ("*", list[str]()) if many else ("?", None)
        self.value("pools", "POOL", "names of pools", nargs=number, default=default)
        self.value("-l --selector", "SEL", "pools with these labels", default="")
        if everything:
            self.switch("--all", "all pools of the namespace", "everything")
        if many:
            self.switch("-A --all-namespaces", "pools of all namespaces")
        self.output("json", "yaml", *formats)
        self.common()

    def provisioned(self) -> None:
        """Add the price of provisioned concurrency, to compare with."""
        text = "price of a GB-second of provisioned concurrency"
        self.value("--lambda-price", "PRICE", text, type=price)
        text = "memory of an instance (default: that of a pod)"
        self.value("--lambda-memory", "MiB", text, type=price)
        self.value("--lambda-currency", "CODE", "currency of --lambda-price", default="")

    def dry_run(self, text: str, *choices: str) -> None:
        """Add the flag of commands that change something."""
        self.add_argument(
            "--dry-run", nargs="?", const="server", choices=["none", *choices], help=text
        )

    def writes(self) -> None:
        """Add the flags of commands that change pools."""
        self.dry_run(VALIDATED, "client", "server")
        self.switch("--force-conflicts", "take over what another field manager has set")


VALIDATED = "change nothing; with `server`, the API server validates the change"


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
