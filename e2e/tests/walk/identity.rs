//! Who somebody is and what they may do: roles, service accounts and their tokens.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Kubectl, Ran, Step, eventually};
use serde_json::{Value, json};

pub const STEPS: &[Step] = &[
    ("kubectl auth whoami and can-i answer for oneself and for others", answers),
    ("a role lets a service account's token list pods in one namespace, and nothing else", role),
    ("a token ends with its account, and one that was changed is worth nothing", token_ends),
    ("edit is less than admin, and nobody grants what they do not have", grants),
    ("a program in a pod calls the API with the token that is mounted there", in_pod),
    ("a pod whose service account does not exist is refused", no_account),
    ("no part of the cluster was refused anything", parts_have_their_roles),
    ("the objects of identity go again", clean),
];

const NAMESPACE: &str = "team";

fn answers(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let me = kubectl.ok("auth whoami")?;
    ensure!(me.contains("kubernetes-admin") && me.contains("system:masters"), "{me}");
    ensure!(kubectl.ok("auth can-i get pods")?.trim() == "yes", "the administrator may");
    ensure!(kubectl.ok("auth can-i * * --all-namespaces")?.trim() == "yes", "everything");
    let all = kubectl.ok("auth can-i --list")?;
    ensure!(all.contains("*.*"), "{all}");
    let jane = kubectl.run("auth can-i list pods --as=jane")?;
    ensure!((jane.code, jane.out.trim()) == (1, "no"), "{jane:?}");
    let list = kubectl.ok("auth can-i --list --as=jane --as-group=dev")?;
    ensure!(
        list.contains("selfsubjectaccessreviews.authorization.k8s.io") && !list.contains("*.*"),
        "{list}"
    );
    let refused = kubectl.refused("get pods --as=jane")?;
    let words = "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    ensure!(refused.contains(words), "{refused}");
    let roles =
        kubectl.ok("get clusterroles cluster-admin admin edit view system:node system:kube-scheduler")?;
    ensure!(roles.lines().count() == 7, "{roles}");
    // What `view` gathers is shown a moment after the roles that it gathers from are there.
    eventually("a role shows what it gathers", || {
        Ok(kubectl.ok("describe clusterrole view")?.contains("deployments.apps").then_some(()))
    })
}

/// The kubeconfig of somebody who shows a token.
fn bearer(cluster: &Cluster, token: &str) -> Result<Kubectl> {
    let text = cluster.kubectl().ok("config view --raw --minify -o json")?;
    let mut config: Value = serde_json::from_str(&text).context("a kubeconfig")?;
    config["users"][0]["user"] = json!({ "token": token });
    let path = cluster.folder().join("bearer.kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(Kubectl::new(&path, cluster.folder()))
}

fn refusal(ran: &Ran) -> &str {
    if ran.code == 0 { "" } else { ran.err.trim() }
}

fn role(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok(&format!("create namespace {NAMESPACE}"))?;
    for command in [
        "create serviceaccount bot",
        "create role reader --verb=get,list,watch --resource=pods,pods/log",
        "create rolebinding bot --role=reader --serviceaccount=team:bot",
    ] {
        kubectl.ok(&format!("{command} -n {NAMESPACE}"))?;
    }
    let token = kubectl.ok(&format!("create token bot -n {NAMESPACE} --duration=10m"))?;
    let bot = bearer(cluster, token.trim())?;
    let me = bot.ok("auth whoami")?;
    ensure!(
        me.contains("system:serviceaccount:team:bot") && me.contains("system:serviceaccounts:team"),
        "{me}"
    );
    bot.ok("get pods -n team")?;
    ensure!(bot.ok("auth can-i watch pods -n team")?.trim() == "yes", "watch");
    for (command, words) in [
        (
            "get secrets -n team",
            "cannot list resource \"secrets\" in API group \"\" in the namespace \"team\"",
        ),
        ("get pods", "cannot list resource \"pods\" in API group \"\" in the namespace \"default\""),
        ("get pods -A", "cannot list resource \"pods\" in API group \"\" at the cluster scope"),
        (
            "delete pod x -n team",
            "cannot delete resource \"pods\" in API group \"\" in the namespace \"team\"",
        ),
        ("get --raw /metrics", "cannot get path \"/metrics\""),
    ] {
        let refused = bot.refused(command)?;
        ensure!(refused.contains(words) && refused.contains("system:serviceaccount:team:bot"), "{refused}");
    }
    let keys = bot.ok("get --raw /openid/v1/jwks")?;
    ensure!(keys.contains("\"ES256\""), "{keys}");
    kubectl.ok("delete rolebinding bot -n team")?;
    eventually(
        "it may no longer",
        || Ok((!refusal(&bot.run("get pods -n team")?).is_empty()).then_some(())),
    )?;
    kubectl.ok("create rolebinding bot --role=reader --serviceaccount=team:bot -n team")?;
    Ok(())
}

fn token_ends(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let short = kubectl.refused("create token bot -n team --duration=5m")?;
    ensure!(short.contains("may not specify a duration less than 10 minutes"), "{short}");
    kubectl.ok("create serviceaccount brief -n team")?;
    let token = kubectl.ok("create token brief -n team")?;
    let brief = bearer(cluster, token.trim())?;
    brief.ok("auth whoami")?;
    kubectl.ok("delete serviceaccount brief -n team")?;
    let gone = eventually("the token is over", || {
        let ran = brief.run("auth whoami")?;
        Ok((ran.code != 0).then_some(ran))
    })?;
    ensure!(gone.err.contains("Unauthorized"), "{gone:?}");
    let (signed, signature) = token.trim().rsplit_once('.').context("a token has three parts")?;
    let turned: String = signature.chars().rev().collect();
    let forged = bearer(cluster, &format!("{signed}.{turned}"))?.refused("get pods")?;
    ensure!(forged.contains("Unauthorized"), "{forged}");
    Ok(())
}

fn grants(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("create rolebinding eda --clusterrole=edit --user=eda -n team")?;
    kubectl.ok("create rolebinding ada --clusterrole=admin --user=ada -n team")?;
    let may = |who: &str, what: &str| -> Result<bool> {
        Ok(kubectl.run(&format!("auth can-i {what} -n team --as={who}"))?.out.trim() == "yes")
    };
    ensure!(may("eda", "create deployments.apps")? && may("eda", "get secrets")?, "edit");
    ensure!(!may("eda", "create roles.rbac.authorization.k8s.io")?, "edit is no admin");
    ensure!(may("ada", "create roles.rbac.authorization.k8s.io")?, "admin");
    kubectl.ok("create role pods --verb=get --resource=pods -n team --as=ada")?;
    let refused = kubectl.refused("create role nodes --verb=get --resource=nodes -n team --as=ada")?;
    let words = "attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}";
    ensure!(refused.contains(words), "{refused}");
    let bound =
        kubectl.refused("create rolebinding all --clusterrole=cluster-admin --user=ada -n team --as=ada")?;
    ensure!(bound.contains("is forbidden") && bound.contains("not currently held"), "{bound}");
    Ok(())
}

/// The kubectl that is used here. It needs nothing beside it, so it runs in any image.
fn program() -> Result<PathBuf> {
    let name = std::env::var("SAMPAN_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let found = std::process::Command::new("sh").args(["-c", &format!("command -v {name}")]).output()?;
    Ok(PathBuf::from(String::from_utf8(found.stdout)?.trim()))
}

fn in_pod(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let overrides = r#"{"spec": {"serviceAccountName": "bot", "terminationGracePeriodSeconds": 0}}"#;
    let sleep = ["--command", "--", "sleep", "100000"];
    let run = ["run", "caller", "-n", NAMESPACE, "--image=busybox", "--overrides", overrides];
    kubectl.ok_with(&[&run[..], &sleep[..]].concat())?;
    kubectl.ok("wait --for=condition=Ready pod/caller -n team --timeout=60s")?;
    let shell = |command: &str| {
        let mut exec = kubectl.with(&["exec", "-i", "caller", "-n", NAMESPACE, "--", "sh", "-c", command]);
        exec.stdin(std::process::Stdio::null());
        exec
    };
    let run = |command: &str| -> Result<Ran> { Ok(Ran::from(shell(command).output()?)) };
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let files = run(&format!("ls {folder}; cat {folder}/namespace"))?;
    ensure!(
        files.out.split_whitespace().collect::<Vec<_>>() == ["ca.crt", "namespace", "token", "team"],
        "{files:?}"
    );
    let program = File::open(program()?).context("kubectl can be read")?;
    let copied = shell("cat > /tmp/kubectl && chmod +x /tmp/kubectl").stdin(program).output()?;
    ensure!(copied.status.success(), "{copied:?}");
    // It finds the API by its environment, and its namespace, token and CA in that folder.
    let pods = eventually("the pod reaches the API", || {
        let pods = run("/tmp/kubectl get pods --no-headers")?;
        Ok((pods.code == 0).then_some(pods))
    })?;
    ensure!(pods.out.starts_with("caller"), "{pods:?}");
    let refused = run("/tmp/kubectl get secrets")?;
    ensure!(refused.err.contains("cannot list resource \"secrets\""), "{refused:?}");
    let me = run("/tmp/kubectl auth whoami")?;
    ensure!(me.out.contains("authentication.kubernetes.io/pod-name") && me.out.contains("caller"), "{me:?}");
    Ok(())
}

fn no_account(cluster: &Cluster) -> Result<()> {
    let overrides = r#"{"spec": {"serviceAccountName": "nobody"}}"#;
    let run = ["run", "stray", "--image=busybox", "--overrides", overrides];
    let ran = Ran::from(cluster.kubectl().with(&run).output()?);
    let words = "error looking up service account default/nobody: serviceaccount \"nobody\" not found";
    ensure!(refusal(&ran).contains(words), "{ran:?}");
    Ok(())
}

fn parts_have_their_roles(cluster: &Cluster) -> Result<()> {
    for unit in cluster.units()? {
        let log = cluster.log(&unit)?;
        let refused: Vec<&str> =
            log.lines().filter(|line| line.contains("is forbidden: User \"system:")).collect();
        ensure!(refused.is_empty(), "{unit} was refused: {}", refused.join("\n"));
    }
    Ok(())
}

fn clean(cluster: &Cluster) -> Result<()> {
    cluster.kubectl().ok(&format!("delete namespace {NAMESPACE} --timeout=60s"))?;
    Ok(())
}
