"""The configuration files of the components. JSON where a component reads YAML."""

import json

from rig import place

PAUSE = "registry.k8s.io/pause:3.10"

CONTAINERD = """version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE nothing may make itself less likely to be killed.
  restrict_oom_score_adj = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""

AUDIT = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: ["system:nodes", "system:masters", "system:serviceaccounts:kube-system"]
- level: None
  users: ["system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy", "system:apiserver"]
- level: Metadata
  omitManagedFields: true
"""


def cni(node):
    # ptp, not bridge: what goes from pod to pod passes the node's packet filter without br_netfilter.
    return {
        "cniVersion": "0.4.0", "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": {
                "type": "host-local", "ranges": [[{"subnet": node.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet(node):
    settings = node.cluster.settings
    pki = node.cluster.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": str(pki / "ca.crt")},
                           "webhook": {"enabled": True}, "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"kubelet-{node.name}.crt"), "tlsPrivateKeyFile": str(pki / f"kubelet-{node.name}.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs", "failCgroupV1": False, "failSwapOn": False,
        "clusterDNS": [place.DNS_SERVICE], "clusterDomain": "cluster.local", "resolvConf": "/dev/null",
        "maxPods": 400, "podPidsLimit": -1, "registerNode": True,
        # The disk is the developer's: how full it is says nothing about the cluster.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "oomScoreAdj": 0,
        "containerLogMaxSize": settings["log_max_size"],
        "containerLogMaxFiles": settings["log_max_files"],
        "containerLogMonitorInterval": settings["log_monitor_interval"],
        "nodeStatusUpdateFrequency": "5s", "nodeStatusReportFrequency": "1m",
    }


def kube_proxy(node):
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "iptables", "hostnameOverride": node.name, "clusterCIDR": place.PODS, "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": str(node.cluster.config / "kube-proxy.kubeconfig")},
        # These would set limits of the machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms"},
    }


def write(cluster):
    (cluster.config / "audit.yaml").write_text(AUDIT)


def write_node(node):
    config = node.config
    (config / "cni").mkdir()
    (config / "cni" / "10-pods.conflist").write_text(json.dumps(cni(node), indent=1))
    (config / "containerd.toml").write_text(CONTAINERD.format(
        root=node.state / "containerd", cni=config / "cni", pause=PAUSE))
    (config / "kubelet.yaml").write_text(json.dumps(kubelet(node), indent=1))
    (config / "kube-proxy.yaml").write_text(json.dumps(kube_proxy(node), indent=1))
