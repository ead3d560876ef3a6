"""Enforces NetworkPolicies on a node, since the ptp plugin does not.

All that comes from or goes to a pod of another pod or node passes the node's FORWARD hook, after Services are resolved. For each
pod that a policy selects there is a chain per direction in table mangle: what is allowed returns, the rest is dropped. Connections
that exist already stay. What the node itself sends to its own pods (the kubelet's probes, the API server on the first node) does
not pass FORWARD and is not held to policies, as Kubernetes wants it. `rules` is a function of what the API server says.
"""

import hashlib
import ipaddress
import subprocess
import sys
import threading
import time

from rig import api as server
from rig import place

POLICIES, PODS, NAMESPACES = "/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/pods", "/api/v1/namespaces"
TOP = "POLICIES"
PREFIX = "NP-"


def matches(selector, labels):
    """Whether labels satisfy a LabelSelector; an empty one takes all."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for one in selector.get("matchExpressions", []):
        key, values = one["key"], one.get("values", [])
        holds = {"In": labels.get(key) in values, "NotIn": labels.get(key) not in values,
                 "Exists": key in labels, "DoesNotExist": key not in labels}[one["operator"]]
        if not holds:
            return False
    return True


def pod(one):
    """What is needed of a pod; None in place of the address when nothing can be sent to it."""
    spec, status, meta = one["spec"], one.get("status", {}), one["metadata"]
    gone = status.get("phase") in ("Succeeded", "Failed") or spec.get("hostNetwork")
    containers = spec["containers"] + spec.get("initContainers", [])
    ports = {(p["name"], p.get("protocol", "TCP")): p["containerPort"]
             for c in containers for p in c.get("ports", []) if "name" in p}
    return {"namespace": meta["namespace"], "name": meta["name"], "labels": meta.get("labels", {}),
            "address": None if gone else status.get("podIP"), "ports": ports}


def namespace(one):
    return {"name": one["metadata"]["name"], "labels": one["metadata"].get("labels", {})}


def policy(one):
    return {"namespace": one["metadata"]["namespace"], **one["spec"]}


def directions(policy):
    """To which directions a policy applies, by the API's default."""
    return policy.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in policy else [])]


def selected(policy, pods):
    return [p for p in pods if p["namespace"] == policy["namespace"] and p["address"]
            and matches(policy.get("podSelector", {}), p["labels"])]


def peers(peer, policy, pods, namespaces):
    """(addresses allowed, addresses excepted, pods by address) that a peer means."""
    if "ipBlock" in peer:
        return [peer["ipBlock"]["cidr"]], peer["ipBlock"].get("except", []), {}
    spaces = {policy["namespace"]}
    if "namespaceSelector" in peer:
        spaces = {n["name"] for n in namespaces if matches(peer["namespaceSelector"], n["labels"])}
    found = {p["address"]: p for p in pods
             if p["address"] and p["namespace"] in spaces and matches(peer.get("podSelector", {}), p["labels"])}
    return sorted(found), [], found


def port_match(port, target):
    """The packet filter's words for a port of a policy, or None when the target has no port of that name."""
    protocol = port.get("protocol", "TCP")
    number = port.get("port")
    if number is None:
        return f"-p {protocol.lower()}"
    if isinstance(number, str):
        number = target["ports"].get((number, protocol)) if target else None
        if number is None:
            return None
    end = f":{port['endPort']}" if "endPort" in port else ""
    return f"-p {protocol.lower()} --dport {number}{end}"


def allowed(chain, policy, own, direction, pods, namespaces):
    """The lines that let through what a policy allows a pod in one direction."""
    rules, side, flag = (("ingress", "from", "-s") if direction == "Ingress" else ("egress", "to", "-d"))
    for rule in policy.get(rules) or []:
        wanted = [peers(p, policy, pods, namespaces) for p in rule.get(side) or []] or [(["0.0.0.0/0"], [], {})]
        for addresses, excepted, found in wanted:
            for address in addresses:
                target = own if direction == "Ingress" else found.get(address)
                if ":" in address:  # IPv6, of which there is none here
                    continue
                ports = {port_match(port, target) for port in rule["ports"]} - {None} if rule.get("ports") else {""}
                for words in sorted(ports):
                    yield from exceptions(chain, flag, address, excepted, words)


def exceptions(chain, flag, address, excepted, words):
    """An address block but for some: as the blocks that remain."""
    blocks = [ipaddress.ip_network(address)]
    for hole in map(ipaddress.ip_network, excepted):
        blocks = [rest for block in blocks
                  for rest in (block.address_exclude(hole) if hole.subnet_of(block) else [block])]
    for block in sorted(blocks):
        yield f"-A {chain} {flag} {block} {words} -j RETURN".replace("  ", " ")


def chain_name(direction, own):
    digest = hashlib.sha256(f"{direction} {own['namespace']}/{own['name']}".encode()).hexdigest()
    return f"{PREFIX}{direction[0]}-{digest[:16]}"


def rules(policies, pods, namespaces, subnet):
    """The chains and their lines for the pods of a node's subnet."""
    chains = {TOP: ["-A POLICIES -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"]}
    here = ipaddress.ip_network(subnet)
    for policy in policies:
        for own in selected(policy, pods):
            if ipaddress.ip_address(own["address"]) not in here:
                continue
            for direction in directions(policy):
                chain = chain_name(direction, own)
                if chain not in chains:
                    chains[chain] = []
                    flag = "-d" if direction == "Ingress" else "-s"
                    chains[TOP].append(f"-A {TOP} {flag} {own['address']}/32 -j {chain}")
                chains[chain] += allowed(chain, policy, own, direction, pods, namespaces)
    for chain, lines in chains.items():
        if chain != TOP:
            lines.append(f"-A {chain} -j DROP")
    return chains


def transaction(chains, stale):
    """What iptables-restore makes true at once: these chains, and not those that are stale."""
    lines = ["*mangle", *(f":{chain} - [0:0]" for chain in [*chains, *stale])]
    lines += [line for chain in chains.values() for line in chain]
    lines += [f"-X {chain}" for chain in stale]
    return "\n".join([*lines, "COMMIT", ""])


def iptables(*arguments, stdin=None):
    return subprocess.run(arguments, input=stdin, capture_output=True, text=True)


def existing():
    """The chains that an earlier run of this process left."""
    listed = iptables("iptables", "-w", "-t", "mangle", "-S").stdout.splitlines()
    return {line.split()[1] for line in listed if line.startswith(f"-N {PREFIX}")}


def main(cluster_name, node_name):
    cluster = place.Cluster(cluster_name)
    subnet = cluster.node(node_name).pods
    api = server.Api(cluster)
    changed = threading.Event()
    stores = [server.Store(api, *what, changed) for what in ((POLICIES, policy), (PODS, pod), (NAMESPACES, namespace))]
    for store in stores:
        store.start()
        store.listed.wait()
    made, before = existing(), None
    while True:
        changed.clear()
        chains = rules(*(list(store.objects.values()) for store in stores), subnet)
        if chains != before:
            done = iptables("iptables-restore", "-w", "--noflush", stdin=transaction(chains, sorted(made - set(chains))))
            if done.returncode:
                print(f"iptables-restore: {done.stderr.strip()}", flush=True)
                time.sleep(1)
                continue
            made, before = set(chains) - {TOP}, chains
            if iptables("iptables", "-w", "-t", "mangle", "-C", "FORWARD", "-j", TOP).returncode:
                iptables("iptables", "-w", "-t", "mangle", "-A", "FORWARD", "-j", TOP)
        changed.wait()
        time.sleep(0.05)  # several changes, one transaction


if __name__ == "__main__":
    main(*sys.argv[1:])
