use apiserver::verbs::ListOptions;
use model::Reason;
use serde_json::json;
use store::memory::Faults;

use crate::cluster::{Cluster, config_map, names, pod, value};

fn labels(selector: &str) -> ListOptions {
    ListOptions { label_selector: selector.to_owned(), ..ListOptions::default() }
}

fn fields(selector: &str) -> ListOptions {
    ListOptions { field_selector: selector.to_owned(), ..ListOptions::default() }
}

fn at(version: &str, how: &str) -> ListOptions {
    ListOptions {
        resource_version: version.to_owned(),
        resource_version_match: how.to_owned(),
        ..ListOptions::default()
    }
}

async fn with_config_maps(count: usize) -> Cluster {
    let cluster = Cluster::start().await;
    for index in 0..count {
        let mut object = config_map(&format!("m{index:02}"));
        object["metadata"]["labels"] = json!({"parity": if index % 2 == 0 { "even" } else { "odd" }});
        cluster.create("configmaps", object).await;
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn selectors_choose_by_label_and_by_field() {
    let cluster = with_config_maps(4).await;
    assert_eq!(cluster.names("configmaps", &labels("parity=odd")).await, ["m01", "m03"]);
    assert_eq!(cluster.names("configmaps", &labels("parity notin (odd)")).await, ["m00", "m02"]);
    assert_eq!(cluster.names("configmaps", &fields("metadata.name=m02")).await, ["m02"]);
    assert_eq!(cluster.names("configmaps", &fields("metadata.name!=m02")).await, ["m00", "m01", "m03"]);
    let refused = cluster.try_list("configmaps", &fields("data.a=b")).await.expect_err("no such field");
    assert_eq!((refused.code(), refused.message.as_str()), (400, "field label not supported: data.a"));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_of_one_namespace_or_of_all() {
    let cluster = Cluster::start().await;
    cluster.create("configmaps", config_map("a")).await;
    cluster.create("kube-system:configmaps", json!({"metadata": {"name": "b"}})).await;
    assert_eq!(cluster.names("configmaps", &ListOptions::default()).await, ["a"]);
    assert_eq!(cluster.names(":configmaps", &ListOptions::default()).await, ["a", "b"]);
    assert_eq!(cluster.names(":configmaps", &fields("metadata.namespace=kube-system")).await, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn pages_show_one_moment_whatever_is_written_meanwhile() {
    let cluster = with_config_maps(6).await;
    let first = ListOptions { limit: 2, ..ListOptions::default() };
    let page = cluster.try_list("configmaps", &first).await.expect("a page");
    assert_eq!((names(&page), page.remaining), (vec!["m00".to_owned(), "m01".to_owned()], Some(4)));

    cluster.delete("configmaps/m03").await;
    cluster.create("configmaps", config_map("m02a")).await;
    cluster.merge("configmaps/m04", json!({"data": {"a": "new"}})).await;

    let mut seen = Vec::new();
    let mut token = page.continue_token.clone();
    while !token.is_empty() {
        let next = ListOptions { limit: 2, continue_token: token, ..ListOptions::default() };
        let next = cluster.try_list("configmaps", &next).await.expect("the next page");
        assert_eq!(next.revision, page.revision);
        seen.extend(next.items.iter().map(value));
        token = next.continue_token;
    }
    let found: Vec<&str> = seen.iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
    assert_eq!(found, ["m02", "m03", "m04", "m05"]);
    assert_eq!(seen[2]["data"]["a"], "b");
}

#[tokio::test(start_paused = true)]
async fn pages_of_a_selection_are_full_and_do_not_say_how_many_follow() {
    let cluster = with_config_maps(9).await;
    let first = ListOptions { limit: 3, ..labels("parity=even") };
    let page = cluster.try_list("configmaps", &first).await.expect("a page");
    assert_eq!((names(&page), page.remaining), (["m00", "m02", "m04"].map(str::to_owned).to_vec(), None));
    let rest = ListOptions { continue_token: page.continue_token, ..first };
    let page = cluster.try_list("configmaps", &rest).await.expect("the rest");
    assert_eq!(names(&page), ["m06", "m08"]);
    assert_eq!(page.continue_token, "");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_list_or_none_at_all_is_refused() {
    let cluster = with_config_maps(3).await;
    let first = ListOptions { limit: 1, ..ListOptions::default() };
    let page = cluster.try_list("configmaps", &first).await.expect("a page");
    let with =
        |token: &str| ListOptions { limit: 1, continue_token: token.to_owned(), ..ListOptions::default() };
    assert_eq!(
        cluster.try_list("secrets", &with(&page.continue_token)).await.expect_err("another list").code(),
        400
    );
    assert_eq!(cluster.try_list("configmaps", &with("nonsense")).await.expect_err("nonsense").code(), 400);
    let both = ListOptions { resource_version: "5".to_owned(), ..with(&page.continue_token) };
    assert_eq!(cluster.try_list("configmaps", &both).await.expect_err("both").code(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_list_can_be_of_an_exact_moment_or_not_older_than_one() {
    let cluster = with_config_maps(2).await;
    let then =
        cluster.try_list("configmaps", &ListOptions::default()).await.expect("a list").revision.to_string();
    cluster.create("configmaps", config_map("m09")).await;
    assert_eq!(cluster.names("configmaps", &at(&then, "Exact")).await, ["m00", "m01"]);
    assert_eq!(cluster.names("configmaps", &at(&then, "NotOlderThan")).await.len(), 3);
    assert_eq!(cluster.names("configmaps", &at("0", "")).await.len(), 3);
    let limited = ListOptions { limit: 5, ..at(&then, "") };
    assert_eq!(cluster.names("configmaps", &limited).await, ["m00", "m01"]);
    let future = cluster.try_list("configmaps", &at("999999999999", "")).await.expect_err("not yet");
    assert_eq!(
        (future.reason, future.causes[0].reason.as_str()),
        (Reason::Timeout, "ResourceVersionTooLarge")
    );
    assert_eq!(cluster.try_list("configmaps", &at("", "Exact")).await.expect_err("of what?").code(), 422);
    assert_eq!(cluster.try_list("configmaps", &at("0", "Exact")).await.expect_err("of what?").code(), 422);
    assert_eq!(cluster.try_list("configmaps", &at("x", "")).await.expect_err("no number").code(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_read_after_a_write_sees_it_on_every_server() {
    let delay = std::time::Duration::from_millis(50);
    let cluster = Cluster::start_with(Faults { delay, ..Faults::default() }).await;
    let other = cluster.another().await;
    for index in 0..5 {
        let name = format!("m{index}");
        cluster.create("configmaps", config_map(&name)).await;
        assert_eq!(other.get(&format!("configmaps/{name}")).await["metadata"]["name"], name);
        assert_eq!(other.names("configmaps", &ListOptions::default()).await.len(), index + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn pods_are_found_by_their_node() {
    let cluster = Cluster::start().await;
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        cluster.create("pods", pod(name)).await;
        cluster.run(name, node).await;
    }
    assert_eq!(cluster.names(":pods", &fields("spec.nodeName=n1")).await, ["a", "c"]);
    assert_eq!(cluster.names(":pods", &fields("spec.nodeName=n1,metadata.name!=a")).await, ["c"]);
    assert_eq!(
        cluster.names(":pods", &fields("spec.nodeName=n1,status.phase=Pending")).await,
        Vec::<String>::new()
    );
    assert_eq!(cluster.names(":pods", &fields("spec.nodeName=")).await, Vec::<String>::new());
}
