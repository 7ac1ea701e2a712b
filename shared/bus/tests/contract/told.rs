//! What is told without being asked.

use crate::rig::{Rig, heard, hears_nothing, join, listen, number, numbers, tell};

pub async fn everybody_hears_what_is_told_in_order(rig: &mut impl Rig) {
    let (speaker, here, there) = (rig.connect().await, rig.connect().await, rig.connect().await);
    let mut ears = [listen(&here, "news").await, listen(&here, "news").await, listen(&there, "news").await];
    let mut others = listen(&there, "other").await;
    for number in 0..50 {
        tell(&speaker, "news", number).await;
    }
    for ear in &mut ears {
        assert_eq!(numbers(ear, 50).await, (0..50).collect::<Vec<u64>>());
    }
    hears_nothing(&mut others).await;
}

pub async fn a_pattern_means_one_token_or_the_rest(rig: &mut impl Rig) {
    let bus = rig.connect().await;
    let (mut one, mut rest) = (listen(&bus, "hb.*").await, listen(&bus, "node.>").await);
    tell(&bus, "hb.a", 1).await;
    tell(&bus, "hb.a.b", 2).await;
    tell(&bus, "node.a.stream.x", 3).await;
    tell(&bus, "node", 4).await;
    assert_eq!(heard(&mut one).await.subject(), "hb.a");
    assert_eq!(heard(&mut rest).await.subject(), "node.a.stream.x");
    hears_nothing(&mut one).await;
    hears_nothing(&mut rest).await;
}

pub async fn a_group_divides_what_is_told(rig: &mut impl Rig) {
    let (speaker, left, right) = (rig.connect().await, rig.connect().await, rig.connect().await);
    let mut members = [join(&left, "work", "workers").await, join(&right, "work", "workers").await];
    let mut outsider = listen(&left, "work").await;
    for number in 0..50 {
        tell(&speaker, "work", number).await;
    }
    assert_eq!(numbers(&mut outsider, 50).await.len(), 50);
    let [left, right] = &mut members;
    let mut all = Vec::new();
    while all.len() < 50 {
        tokio::select! { number = number(left) => all.push(number), number = number(right) => all.push(number) }
    }
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<u64>>(), "each is heard by exactly one member");
    hears_nothing(left).await;
    hears_nothing(right).await;
}

pub async fn who_stopped_listening_hears_nothing(rig: &mut impl Rig) {
    let bus = rig.connect().await;
    let (stopped, mut other) = (listen(&bus, "news").await, listen(&bus, "news").await);
    stopped.stop().await;
    tell(&bus, "news", 1).await;
    assert_eq!(number(&mut other).await, 1);
    let asked = bus.request::<_, u64>("news", &2u64, std::time::Duration::from_millis(50)).await;
    assert!(asked.is_err(), "the one who listens does not answer, the other is gone");
}

pub async fn who_does_not_read_holds_nobody_up(rig: &mut impl Rig) {
    const TOLD: u64 = 70_000;
    let (speaker, listener) = (rig.connect().await, rig.connect().await);
    let mut idle = listen(&listener, "flood").await;
    let mut last = listen(&listener, "last").await;
    for number in 0..TOLD {
        tell(&speaker, "flood", number).await;
    }
    tell(&speaker, "last", 0).await;
    assert_eq!(number(&mut last).await, 0, "what came before is out of the way");
    let mut kept = Vec::new();
    while let Ok(Some(message)) =
        tokio::time::timeout(std::time::Duration::from_millis(200), idle.next()).await
    {
        kept.push(message.decode::<u64>().expect("a number"));
    }
    assert!(kept.len() < TOLD as usize, "its bound is smaller");
    assert!(
        kept.is_sorted() && kept[..1000] == (0..1000).collect::<Vec<u64>>(),
        "the first are kept, in order"
    );
}
