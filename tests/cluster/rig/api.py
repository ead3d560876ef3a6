"""The API server, as the cluster's own helpers speak to it: JSON over HTTPS, with a client certificate."""

import json
import ssl
import threading
import time
import urllib.request

WATCH_SECONDS = 240


class Api:
    def __init__(self, cluster):
        self.server = cluster.server
        self.context = ssl.create_default_context(cafile=cluster.pki / "ca.crt")
        self.context.load_cert_chain(cluster.pki / "rig.crt", cluster.pki / "rig.key")

    def open(self, method, path, body=None, content="application/json", timeout=10):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, data, {"Content-Type": content}, method=method)
        return urllib.request.urlopen(request, context=self.context, timeout=timeout)

    def call(self, method, path, body=None, content="application/json"):
        with self.open(method, path, body, content) as answer:
            return json.load(answer)

    def events(self, path, version):
        """An open watch: one event a line."""
        return self.open("GET", f"{path}?watch=1&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}",
                         timeout=WATCH_SECONDS + 10)

    def merge(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")


def notice(api, path, version, changed):
    """Says that something changed: at the first event, or when the watch ends."""
    try:
        with api.events(path, version) as events:
            events.readline()
    except (OSError, ValueError):
        pass  # whoever is told asks again, meets the same trouble and says it
    changed.set()


class Store(threading.Thread):
    """The objects of one kind, kept up to date: `keep` takes what is needed of each; `changed` is set at each change."""

    def __init__(self, api, path, keep, changed):
        super().__init__(daemon=True)
        self.api, self.path, self.keep, self.changed = api, path, keep, changed
        self.objects = {}
        self.listed = threading.Event()

    def run(self):
        while True:
            try:
                self.follow()
            except (OSError, ValueError, KeyError) as error:
                print(f"{self.path}: again in a second: {error}", flush=True)
                time.sleep(1)

    def follow(self):
        found = self.api.call("GET", self.path)
        self.objects = {one["metadata"]["uid"]: self.keep(one) for one in found["items"]}
        self.listed.set()
        self.changed.set()
        with self.api.events(self.path, found["metadata"]["resourceVersion"]) as events:
            for line in events:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return  # too old: list again
                uid = event["object"]["metadata"]["uid"]
                # A new dictionary: whoever reads the old one is not disturbed.
                if event["type"] == "DELETED":
                    self.objects = {key: value for key, value in self.objects.items() if key != uid}
                else:
                    self.objects = {**self.objects, uid: self.keep(event["object"])}
                self.changed.set()
