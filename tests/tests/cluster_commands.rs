//! What `indelible` says in a cluster that is not as it should be: a real process, and a twin of the API server.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::process::Command;

use indelible_tests::api_server::{ApiServer, list, status};
use indelible_tests::world::binary;
use serde_json::{Value, json};

const LOG: &str = "/apis/indelible.dev/v1alpha1/namespaces/audit/auditlogs/main";
const WHO: &str = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews";

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn indelible(api: &ApiServer, line: &str) -> Said {
    let mut command = Command::new(binary("indelible").unwrap());
    command.args(line.split(' ').map(|word| word.replace('_', " ")));
    let output = command.env("KUBECONFIG", api.kubeconfig().unwrap()).env_remove("HTTPS_PROXY").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

fn audit_log(annotations: &Value) -> Value {
    let ready = json!({"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-31T12:00:00Z"});
    let intact = json!({"type": "Intact", "status": "True", "reason": "Intact", "message": "", "lastTransitionTime": "2026-01-31T12:00:00Z"});
    json!({"apiVersion": "indelible.dev/v1alpha1", "kind": "AuditLog",
        "metadata": {"name": "main", "namespace": "audit", "resourceVersion": "7", "annotations": annotations},
        "spec": {}, "status": {"logs": [], "conditions": [ready, intact]}})
}

fn forbidden(what: &str) -> Value {
    status(403, "Forbidden", &format!("{what} is forbidden: User \"alice\" cannot get resource"), "main")
}

#[test]
fn a_cluster_without_audit_logs_and_one_without_this_one_are_told_apart() {
    let api = ApiServer::start().unwrap();
    let said = indelible(&api, "verify main");
    assert!(said.code == 4 && said.err.contains("has no AuditLogs: Indelible is not installed"), "{}", said.err);

    api.answer(&format!("GET {LOG}"), 404, status(404, "NotFound", "auditlogs \"main\" not found", "main"));
    let other = json!({"metadata": {"name": "payments", "namespace": "security"}});
    api.answer("GET /apis/indelible.dev/v1alpha1/auditlogs", 200, list("AuditLog", &[other]));
    let said = indelible(&api, "logs -n audit main");
    assert!(said.code == 4 && said.err.contains("there are: -n security payments"), "{}", said.err);
}

#[test]
fn a_missing_right_is_named_with_the_command_that_gives_it() {
    let api = ApiServer::start().unwrap();
    api.answer(&format!("GET {LOG}"), 403, forbidden("auditlogs"));
    let said = indelible(&api, "verify -n audit main");
    let grant =
        "kubectl create rolebinding indelible-auditor-alice -n audit --clusterrole=indelible-auditor --user=alice";
    assert!(said.code == 4 && said.err.contains(grant), "{}", said.err);
}

#[test]
fn an_api_server_that_is_away_or_wants_a_login_is_said_to_be() {
    let api = ApiServer::start().unwrap();
    api.answer(&format!("GET {LOG}"), 401, status(401, "Unauthorized", "Unauthorized", ""));
    let said = indelible(&api, "verify -n audit main");
    assert!(said.code == 4 && said.err.contains("log in again"), "{}", said.err);

    let dir = tempfile::tempdir().unwrap();
    let away = dir.path().join("kubeconfig");
    let config = std::fs::read_to_string(api.kubeconfig().unwrap()).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["clusters"][0]["cluster"]["server"] = json!("http://127.0.0.1:1");
    std::fs::write(&away, config.to_string()).unwrap();
    let said = indelible(&api, &format!("verify -n audit main --kubeconfig {}", away.display()));
    assert!(said.code == 4 && said.err.contains("http://127.0.0.1:1 does not answer"), "{}", said.err);

    let said = indelible(&api, "verify -n audit main --context nope");
    assert!(said.code == 5 && said.err.contains("--context nope") && said.err.contains("twin"), "{}", said.err);
    let said = indelible(&api, "verify -n audit main --kubeconfig /nope");
    assert!(said.code == 5 && said.err.contains("--kubeconfig /nope"), "{}", said.err);
}

#[test]
fn a_name_that_is_no_directory_and_no_audit_log_is_a_source_that_is_missing() {
    let api = ApiServer::start().unwrap();
    let vkey = "--log-key example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let said = indelible(&api, &format!("verify copies {vkey}"));
    assert!(said.code == 4 && said.out.contains("there is no directory of that name"), "{}{}", said.out, said.err);
}

#[test]
fn keys_that_the_operator_has_not_pinned_are_not_made_up() {
    let api = ApiServer::start().unwrap();
    let pod = json!({"metadata": {"name": "main-0", "namespace": "audit"}, "status": {"phase": "Running"}});
    api.answer(&format!("GET {LOG}"), 200, audit_log(&json!({})));
    api.answer("GET /api/v1/namespaces/audit/pods", 200, list("Pod", &[pod]));
    let said = indelible(&api, "verify -n audit main");
    assert!(said.code == 4 && said.err.contains("has pinned no log") && said.err.contains("--policy"), "{}", said.err);
}

#[test]
fn an_acknowledgement_is_under_the_users_own_name_and_has_happened_when_the_operator_has_taken_it() {
    let api = ApiServer::start().unwrap();
    let value = r#"{"finding":"0123456789abcdef","by":"alice","reason":"disk replaced"}"#;
    api.answer(WHO, 201, json!({"metadata": {}, "status": {"userInfo": {"username": "alice"}}}));
    api.answer(&format!("PATCH {LOG}"), 200, audit_log(&json!({})));
    for annotations in [json!({}), json!({"indelible.dev/acknowledge": value}), json!({})] {
        api.answer(&format!("GET {LOG}"), 200, audit_log(&annotations));
    }
    let said = indelible(&api, "acknowledge -n audit main --finding 0123456789abcdef --reason disk_replaced");
    assert!(said.code == 0 && said.out.contains("acknowledged by alice; Intact is True"), "{}{}", said.out, said.err);
    let patched = api.asked(&format!("PATCH {LOG}"));
    let patched: Value = serde_json::from_str(&patched[0]).unwrap();
    assert_eq!(patched["metadata"]["annotations"]["indelible.dev/acknowledge"], value);
    assert_eq!(patched["metadata"]["resourceVersion"], "7", "nothing newer is overwritten");
}

#[test]
fn an_acknowledgement_that_is_refused_says_by_whom_and_what_it_takes() {
    let line = "acknowledge -n audit main --finding 0123456789abcdef --reason x";
    let denied = "auditlogs \"main\" is forbidden: ValidatingAdmissionPolicy 'indelible-acknowledge' with binding 'indelible-acknowledge' denied request: no";
    for (code, reason, message, says) in [
        (403, "Forbidden", denied, "--clusterrole=indelible-acknowledger"),
        (422, "Invalid", denied, "verb `acknowledge`"),
        (409, "Conflict", "the object has been modified", "has changed meanwhile"),
    ] {
        let api = ApiServer::start().unwrap();
        api.answer(WHO, 201, json!({"metadata": {}, "status": {"userInfo": {"username": "alice"}}}));
        api.answer(&format!("GET {LOG}"), 200, audit_log(&json!({})));
        api.answer(&format!("PATCH {LOG}"), code, status(code, reason, message, "main"));
        let said = indelible(&api, line);
        assert!(said.code == 4 && said.err.contains(says), "{}", said.err);
    }
    let api = ApiServer::start().unwrap();
    api.answer(&format!("GET {LOG}"), 200, audit_log(&json!({"indelible.dev/acknowledge": "{}"})));
    let said = indelible(&api, line);
    assert!(said.code == 4 && said.err.contains("has not taken yet"), "{}", said.err);
    assert!(api.asked(&format!("PATCH {LOG}")).is_empty(), "one that waits is left alone");
}

#[test]
fn a_preflight_of_a_namespace_that_may_not_be_looked_at_is_4_and_of_one_with_a_problem_2() {
    let api = ApiServer::start().unwrap();
    api.answer("GET /api/v1/namespaces/shop", 200, json!({"metadata": {"name": "shop"}}));
    api.answer(&format!("GET {LOG}"), 200, audit_log(&json!({})));
    let no = || forbidden("it");
    for path in [
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/indelible-injector",
        "/apis/storage.k8s.io/v1/csidrivers/logs.csi.indelible.dev",
        "/api/v1/namespaces/shop/pods",
        "/api/v1/namespaces/audit/pods",
    ] {
        api.answer(&format!("GET {path}"), 403, no());
    }
    let line = "preflight shop -n audit main --json";
    let said = indelible(&api, line);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &json["exit"]), (4, &json!(4)), "{}", said.out);

    api.answer("GET /api/v1/nodes", 200, list("Node", &[json!({"metadata": {"name": "old"},
        "status": {"nodeInfo": {"kubeletVersion": "v1.28.0", "architecture": "", "bootID": "", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": ""}}})]));
    let said = indelible(&api, line);
    assert!(said.code == 2 && said.out.contains("the kubelet of old is older than 1.29"), "{}", said.out);
}
