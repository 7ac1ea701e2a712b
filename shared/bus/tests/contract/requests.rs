//! Questions and answers.

use std::time::Duration;

use bus::{BusError, Requests};

use crate::rig::{Rig, heard, join, listen};

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers everything with ten times the question, plus `mark`.
async fn answer(mut requests: Requests, mark: u64) {
    while let Some(request) = requests.next().await {
        let question: u64 = request.decode().expect("a number");
        request.answer(&(10 * question + mark)).await;
    }
}

pub async fn a_request_gets_its_answer(rig: &mut impl Rig) {
    let (asker, server) = (rig.connect().await, rig.connect().await);
    tokio::spawn(answer(join(&server, "ask", "servers").await, 1));
    let answers = (0..20u64).map(|question| {
        let asker = asker.clone();
        async move { asker.request::<_, u64>("ask", &question, PATIENCE).await.expect("an answer") }
    });
    let answers = futures::future::join_all(answers).await;
    assert_eq!(answers, (0..20).map(|question| 10 * question + 1).collect::<Vec<u64>>());
}

pub async fn a_question_without_listeners_is_told_so_at_once(rig: &mut impl Rig) {
    let bus = rig.connect().await;
    let asked = bus.request::<_, u64>("nobody", &1u64, Duration::from_secs(60)).await;
    assert!(matches!(asked, Err(BusError::NoResponders(_))), "{asked:?}");
    let mut many = bus.request_many("nobody", &1u64).await.expect("the bus takes it");
    assert!(heard(&mut many).await.is_unheard());
}

pub async fn a_question_that_is_not_answered_ends_in_time(rig: &mut impl Rig) {
    let (asker, server) = (rig.connect().await, rig.connect().await);
    let mut deaf = listen(&server, "ask").await;
    let asked = asker.request::<_, u64>("ask", &1u64, Duration::from_millis(100)).await;
    assert!(matches!(asked, Err(BusError::TimedOut(_))), "{asked:?}");
    // It was heard all the same, and a late answer harms nobody.
    heard(&mut deaf).await.answer(&7u64).await;
}

pub async fn an_answer_may_have_several_parts(rig: &mut impl Rig) {
    let (asker, server) = (rig.connect().await, rig.connect().await);
    let mut requests = join(&server, "ask", "servers").await;
    tokio::spawn(async move {
        let request = requests.next().await.expect("the connection is not closed");
        for part in 0..5u64 {
            request.answer(&part).await;
        }
    });
    let mut parts = asker.request_many("ask", &0u64).await.expect("the bus takes it");
    for part in 0..5u64 {
        assert_eq!(heard(&mut parts).await.decode::<u64>().expect("a number"), part);
    }
}

pub async fn members_of_a_group_divide_the_questions(rig: &mut impl Rig) {
    let (asker, left, right) = (rig.connect().await, rig.connect().await, rig.connect().await);
    tokio::spawn(answer(join(&left, "ask", "servers").await, 1));
    tokio::spawn(answer(join(&right, "ask", "servers").await, 2));
    let mut marks = [0, 0];
    for question in 0..60u64 {
        let answer: u64 = asker.request("ask", &question, PATIENCE).await.expect("an answer");
        assert_eq!(answer / 10, question);
        marks[(answer % 10 - 1) as usize] += 1;
    }
    assert!(marks.iter().all(|count| *count > 0), "{marks:?}");
}
