//! The proof: everything is there, and what is changed is named.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

use super::load::named;
use crate::judge::{all_is_there, is_clean, verify};
use crate::suite::{AUDIT_LOG, CLAIM, HOME, POOL, Suite};
use crate::tools::{self, secs};

pub async fn nothing_lost(suite: &Suite) -> Result<()> {
    println!("{}", all_is_there(suite, "shop-", secs(60)).await?);
    let (code, report) = verify(suite, &[])?;
    is_clean(&report)?;
    println!("verify: exit {code}, {}", report["verdicts"]);
    suite.until(POOL, "Intact", "True", "", secs(30)).await?;
    Ok(())
}

/// The directory of a claim's volume, on the machine.
async fn volume(suite: &Suite, claim: &str) -> Result<PathBuf> {
    let object = suite.get(&CLAIM, HOME, claim).await?;
    let name = object["spec"]["volumeName"].as_str().context("the claim has no volume")?;
    let volume = suite.kubectl(&["get", "pv", name, "-o", "jsonpath={.spec.local.path}"])?;
    Ok(PathBuf::from(volume))
}

pub async fn changed_byte(suite: &Suite) -> Result<()> {
    let claim = format!("data-{POOL}-1");
    let dir = volume(suite, &claim).await?;
    // A byte in the middle of the newest segment's written part, behind the collector's back.
    let script = format!(
        "import glob,os\nf=sorted(glob.glob('{0}/**/segments/*.seg',recursive=True))[0]\n\
         b=bytearray(open(f,'rb').read())\ni=b.find(b'chatty ')\ni = i if i>0 else len(b)//3\n\
         fd=os.open(f,os.O_RDWR)\nos.pwrite(fd,bytes([b[i]^1]),i)\nos.close(fd)\nprint(f,i)\n",
        dir.display()
    );
    let told = tools::ok(Command::new("python3").args(["-c", &script]), "", secs(60))?;
    println!("changed a byte: {}", told.trim());
    let (code, report) = verify(suite, &[])?;
    ensure!(code == 1, "verify ended with {code}: {}", report["findings"]);
    let finding = named(&report, "forged", &[&format!("{HOME}/{POOL}-1"), "keep its volume"])?;
    println!("verify names it: {finding}");
    let refused = suite.indelible(&["acknowledge", "-n", HOME, POOL, "--finding", &finding, "--reason", ""])?;
    ensure!(refused.code != 0, "an empty reason was taken");
    let acknowledged = suite.indelible(&[
        "acknowledge",
        "-n",
        HOME,
        POOL,
        "--finding",
        &finding,
        "--reason",
        "the e2e suite changed it",
    ])?;
    ensure!(acknowledged.code == 0, "acknowledge ended with {}: {}", acknowledged.code, acknowledged.err);
    tools::wait("the finding is accepted", secs(60), async || {
        let (code, report) = verify(suite, &[])?;
        ensure!(code != 1, "verify still ends with 1: {}", report["findings"]);
        Ok(())
    })
    .await?;
    // The volume is set aside, which needs one that outlives its claim, and a new one takes its place.
    let claimed = suite.get(&CLAIM, HOME, &claim).await?;
    let name = claimed["spec"]["volumeName"].as_str().context("the claim has no volume")?;
    suite.kubectl(&["patch", "pv", name, "-p", r#"{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}"#])?;
    suite.kubectl(&[
        "annotate",
        "auditlog",
        "-n",
        HOME,
        POOL,
        &format!("indelible.dev/replace-volume={POOL}-1"),
        "--overwrite",
    ])?;
    tools::wait("a new volume is in use", secs(180), async || {
        let now = volume(suite, &claim).await?;
        ensure!(now != dir, "the claim still has {}", dir.display());
        let object = suite.get(&AUDIT_LOG, HOME, POOL).await?;
        ensure!(object["status"]["collectors"] == "3/3", "{}", object["status"]["collectors"]);
        let annotation = object["metadata"]["annotations"].get("indelible.dev/replace-volume").and_then(Value::as_str);
        ensure!(annotation.is_none(), "the annotation is still there");
        Ok(())
    })
    .await?;
    suite.until(POOL, "Ready", "True", "", secs(60)).await?;
    Ok(())
}
