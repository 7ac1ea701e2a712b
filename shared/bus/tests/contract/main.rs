//! What every bus must give the services: one suite, run on a real nats-server and on the bus in memory.
//!
//! In memory each rule runs under several seeds, with delays, on a paused clock. Messages are lost only where a rule is
//! about that: losing them is what both may do, and what nobody can count on.

mod away;
mod requests;
mod rig;
mod told;

/// Lists every rule once and makes a test of it on each bus.
macro_rules! contract {
    ($($module:ident: $($rule:ident),+;)+) => {
        mod in_memory {
            $($(#[test]
            fn $rule() {
                for seed in 0..crate::rig::SEEDS {
                    crate::rig::in_memory(seed, async |rig| crate::$module::$rule(rig).await);
                }
            })+)+
        }

        mod on_nats {
            $($(#[test]
            fn $rule() {
                crate::rig::on_nats(async |rig| crate::$module::$rule(rig).await);
            })+)+
        }
    };
}

contract! {
    told:
        everybody_hears_what_is_told_in_order,
        a_pattern_means_one_token_or_the_rest,
        a_group_divides_what_is_told,
        who_stopped_listening_hears_nothing,
        who_does_not_read_holds_nobody_up;
    requests:
        a_request_gets_its_answer,
        a_question_without_listeners_is_told_so_at_once,
        a_question_that_is_not_answered_ends_in_time,
        an_answer_may_have_several_parts,
        members_of_a_group_divide_the_questions;
    away:
        what_is_told_while_the_bus_is_away_is_heard_when_it_is_back,
        who_listened_before_listens_again,
        a_question_while_the_bus_is_away_does_not_wait_for_ever;
}
