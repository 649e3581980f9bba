"""Certificates of the cluster: one authority for the API, one for aggregated APIs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.layout import API_SERVICE_IP, CLUSTER_DOMAIN, HOST_IP, NODE_IP, NODE_NAME

_DAYS = "3650"
# P-256 keys are made in milliseconds; RSA keys would take most of the start.
_KEY_ARGUMENTS = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """One certificate to sign: file name, subject, signing authority, names it is valid for."""

    name: str
    subject: str
    authority: str = "ca"
    names: tuple[str, ...] = ()


_API_DNS = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
)
_API_IPS = ("127.0.0.1", API_SERVICE_IP, NODE_IP, HOST_IP)

AUTHORITIES = {"ca": "/CN=kotatsu-node-ca", "front-proxy-ca": "/CN=kotatsu-node-front-proxy-ca"}
CERTIFICATES = (
    Certificate(
        "apiserver",
        "/CN=kube-apiserver",
        names=(*(f"DNS:{name}" for name in _API_DNS), *(f"IP:{ip}" for ip in _API_IPS)),
    ),
    Certificate("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
    Certificate("admin", "/O=system:masters/CN=kubernetes-admin"),
    Certificate("kube-controller-manager", "/CN=system:kube-controller-manager"),
    Certificate("kube-scheduler", "/CN=system:kube-scheduler"),
    Certificate("kube-proxy", "/CN=system:kube-proxy"),
    Certificate(
        "kubelet",
        f"/O=system:nodes/CN=system:node:{NODE_NAME}",
        names=(f"DNS:{NODE_NAME}", f"IP:{NODE_IP}"),
    ),
    Certificate("front-proxy-client", "/CN=front-proxy-client", authority="front-proxy-ca"),
)
_COMPLETE = ".complete"


def ensure(pki: Path) -> None:
    """Make every certificate and the service-account key unless all are there."""
    if (pki / _COMPLETE).exists():
        return
    pki.mkdir(parents=True, exist_ok=True)
    pki.chmod(0o700)
    for name, subject in AUTHORITIES.items():
        shell.call(
            [
                *("openssl", "req", "-x509", *_KEY_ARGUMENTS, "-days", _DAYS, "-subj", subject),
                *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
                *("-keyout", pki / f"{name}.key", "-out", pki / f"{name}.crt"),
            ]
        )
    for certificate in CERTIFICATES:
        _sign(pki, certificate)
    key, public = pki / "service-account.key", pki / "service-account.pub"
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256")
    shell.call(["openssl", "genpkey", "-algorithm", "EC", *curve, "-out", key])
    shell.call(["openssl", "pkey", "-in", key, "-pubout", "-out", public])
    (pki / _COMPLETE).touch()


def extensions(certificate: Certificate) -> str:
    """The x509 extension file for a certificate."""
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        "extendedKeyUsage=serverAuth,clientAuth",
    ]
    if certificate.names:
        lines.append(f"subjectAltName={','.join(certificate.names)}")
    return "\n".join(lines) + "\n"


def _sign(pki: Path, certificate: Certificate) -> None:
    name, authority = certificate.name, certificate.authority
    request, extension_file = pki / f"{name}.csr", pki / f"{name}.ext"
    extension_file.write_text(extensions(certificate))
    shell.call(
        [
            *("openssl", "req", "-new", *_KEY_ARGUMENTS, "-subj", certificate.subject),
            *("-keyout", pki / f"{name}.key", "-out", request),
        ]
    )
    shell.call(
        [
            *("openssl", "x509", "-req", "-in", request, "-days", _DAYS),
            *("-CA", pki / f"{authority}.crt", "-CAkey", pki / f"{authority}.key"),
            *("-CAcreateserial", "-extfile", extension_file, "-out", pki / f"{name}.crt"),
        ]
    )
    request.unlink()
    extension_file.unlink()
