//! While the bus is away, and after.

use std::time::Duration;

use crate::rig::{Rig, heard, listen, number, tell, there_and_back};

pub async fn what_is_told_while_the_bus_is_away_is_heard_when_it_is_back(rig: &mut impl Rig) {
    let (speaker, listener) = (rig.connect().await, rig.connect().await);
    let mut ear = listen(&listener, "news").await;
    rig.leave().await;
    assert!(!speaker.is_connected());
    // One message less than a server's own connection keeps for sure.
    tell(&speaker, "news", 1).await;
    rig.come_back().await;
    assert!(speaker.is_connected());
    there_and_back(&listener).await;
    // The listener may have come back after that was said; what is said now is heard.
    tell(&speaker, "news", 2).await;
    let first = number(&mut ear).await;
    assert!(first == 1 && number(&mut ear).await == 2 || first == 2, "{first}");
}

pub async fn who_listened_before_listens_again(rig: &mut impl Rig) {
    let (speaker, listener) = (rig.connect().await, rig.connect().await);
    let mut ear = listen(&listener, "news").await;
    for round in 0..3 {
        rig.leave().await;
        rig.come_back().await;
        listener.flush().await.expect("the bus is back");
        // Until the server knows of the subscription again, what is told is lost, as it may be.
        let mut told = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                _ = told.tick() => tell(&speaker, "news", round).await,
                message = ear.next() => {
                    let number: u64 = message.expect("the connection is not closed").decode().expect("a number");
                    assert!(number <= round);
                    if number == round {
                        break;
                    }
                }
            }
        }
    }
}

pub async fn a_question_while_the_bus_is_away_does_not_wait_for_ever(rig: &mut impl Rig) {
    let (asker, server) = (rig.connect().await, rig.connect().await);
    let mut requests = listen(&server, "ask").await;
    rig.leave().await;
    let asked = asker.request::<_, u64>("ask", &1u64, Duration::from_millis(100)).await;
    assert!(asked.is_err());
    rig.come_back().await;
    server.flush().await.expect("the bus is back");
    let asker = tokio::spawn(async move {
        loop {
            let asked = asker.request::<_, u64>("ask", &2u64, Duration::from_secs(1)).await;
            if let Ok(answer) = asked {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    // The first question may come late.
    loop {
        let request = heard(&mut requests).await;
        if request.decode::<u64>().expect("a number") == 2 {
            request.answer(&20u64).await;
            break;
        }
    }
    assert_eq!(asker.await.expect("it does not panic"), 20);
}
