"""Which ports of a Service lead to a server that speaks first."""

from rows import each

from kotatsu_operator.core.objects import speaks_first

MYSQL = {"name": "db", "port": 3306, "targetPort": 3306}


@each(
    "port, protocol",
    [
        (MYSQL, "mysql"),
        ({"port": 13306, "targetPort": 3306}, "mysql"),
        ({"name": "mysql", "port": 13306, "targetPort": 4000}, "mysql"),
        ({"name": "tcp-mysql", "port": 13306, "targetPort": 4000}, "mysql"),
        ({"name": "db", "port": 13306, "targetPort": "mysql"}, "mysql"),
        ({"port": 25, "targetPort": 8025}, "smtp"),
        ({"port": 9000, "appProtocol": "mysql"}, "mysql"),
        ({"port": 9000, "appProtocol": "IMAP"}, "imap"),
        ({"port": 9000, "appProtocol": "kotatsu.dev/server-first"}, "kotatsu.dev/server-first"),
        (MYSQL | {"appProtocol": "tcp"}, "mysql"),
        # What is said of the port is believed.
        (MYSQL | {"appProtocol": "http"}, ""),
        (MYSQL | {"appProtocol": "tls"}, ""),
        ({"name": "http", "port": 80, "targetPort": "http"}, ""),
        ({"name": "postgresql", "port": 5432, "targetPort": 5432}, ""),
        ({"name": "ssh", "port": 22, "targetPort": 22}, ""),
        ({"port": 3307}, ""),
        ({}, ""),
    ],
)
def test_app_protocol_says_so_or_else_a_known_name_or_number(port, protocol):
    assert speaks_first(port) == protocol
