"""Keys, certificates and kubeconfigs, by openssl: one authority for all, valid for a few days."""

import base64
import json
import subprocess

from rig import place

DAYS = "30"


def openssl(directory, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise place.Refused(f"openssl {arguments[0]}: {done.stderr.strip()}")


def certificate(directory, name, subject, sans=()):
    """A key NAME.key and a certificate NAME.crt, for clients and servers alike."""
    extensions = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth,serverAuth\n"
    if sans:
        extensions += f"subjectAltName={','.join(sans)}\n"
    (directory / f"{name}.ext").write_text(extensions)
    openssl(directory, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.crt")


def kubeconfig(cluster, user):
    """A kubeconfig that needs no other file; JSON is YAML."""
    def data(file):
        return base64.b64encode((cluster.pki / file).read_bytes()).decode()

    name = f"indelible-{cluster.name}"
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster": {
            "server": cluster.server, "certificate-authority-data": data("ca.crt")}}],
        "users": [{"name": user, "user": {
            "client-certificate-data": data(f"{user}.crt"), "client-key-data": data(f"{user}.key")}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
    }, indent=1) + "\n"


def write(cluster):
    """Everything that the components and people need to speak to each other."""
    directory = cluster.pki
    directory.mkdir(mode=0o700)
    openssl(directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "ca.key", "-out", "ca.crt", "-days", DAYS, "-subj", "/CN=kubernetes",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")
    openssl(directory, "genrsa", "-out", "sa.key", "2048")
    openssl(directory, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    api = [f"DNS:{name}" for name in ("kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                      "kubernetes.default.svc.cluster.local", "localhost")]
    certificate(directory, "apiserver", "/CN=kube-apiserver",
                [*api, f"IP:{place.API_SERVICE}", "IP:127.0.0.1", f"IP:{cluster.first.address}"])
    certificate(directory, "apiserver-kubelet", "/O=system:masters/CN=apiserver-kubelet")
    certificate(directory, "front-proxy", "/CN=front-proxy-client")
    certificate(directory, "admin", "/O=system:masters/CN=admin")
    certificate(directory, "rig", "/O=system:masters/CN=rig")
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        certificate(directory, name, f"/CN=system:{name}")
    for user in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        (cluster.config / f"{user}.kubeconfig").write_text(kubeconfig(cluster, user))
    cluster.kubeconfig.write_text(kubeconfig(cluster, "admin"))
    cluster.kubeconfig.chmod(0o600)


def write_node(node):
    name = f"kubelet-{node.name}"
    certificate(node.cluster.pki, name, f"/O=system:nodes/CN=system:node:{node.name}",
                [f"DNS:{node.name}", f"IP:{node.address}"])
    (node.config / "kubelet.kubeconfig").write_text(kubeconfig(node.cluster, name))
