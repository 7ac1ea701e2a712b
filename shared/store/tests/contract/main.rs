//! What every log must give a store: one suite, run on JetStream and on the log in memory.
//!
//! On JetStream each rule gets a real nats-server of its own. In memory each rule runs under many seeds, with delays,
//! lost messages, lost acknowledgements, late duplicates and broken tails, on a paused clock.

mod checkpoints;
mod events;
mod faults;
mod reads;
mod rig;
mod watches;
mod writes;

/// Lists every rule once and makes a test of it on each log.
macro_rules! contract {
    ($($module:ident: $($rule:ident),+;)+) => {
        mod in_memory {
            $($(#[test]
            fn $rule() {
                for seed in crate::rig::seeds() {
                    crate::rig::in_memory(seed, async |rig| crate::$module::$rule(rig).await);
                }
            })+)+
        }

        mod on_jetstream {
            $($(#[test]
            fn $rule() {
                crate::rig::on_jetstream(async |rig| crate::$module::$rule(rig).await);
            })+)+
        }
    };
}

contract! {
    writes:
        a_write_is_read_back,
        an_expectation_that_does_not_hold_refuses_and_shows_why,
        an_expectation_is_judged_against_the_operations_before_it,
        all_or_none_writes_all_or_none,
        writers_who_contend_lose_no_update,
        a_deposed_leader_writes_nothing,
        writers_who_come_together_share_messages,
        a_large_object_travels_alone,
        what_does_not_fit_or_makes_no_sense_is_refused_unsent;
    reads:
        a_barrier_shows_what_others_wrote,
        a_barrier_needs_no_message_of_the_followed_classes,
        a_reader_of_one_class_sees_that_class,
        who_waits_for_what_never_comes_gives_up,
        pages_of_one_list_agree,
        every_reader_has_the_same_objects;
    watches:
        a_watch_has_neither_gap_nor_repetition,
        a_watch_shows_what_was_before,
        a_watch_tells_of_each_change_to_which_trace_it_belongs,
        the_past_is_recalled_with_its_times_and_traces,
        a_watch_of_a_prefix_sees_the_prefix,
        a_watch_from_before_the_history_is_too_old,
        a_slow_watch_is_cut_off_and_a_quiet_one_is_not,
        a_glance_shows_what_was_committed_and_does_not_wait,
        a_watch_tells_how_far_it_has_come,
        a_watch_ends_with_its_store;
    faults:
        acknowledged_writes_survive_a_crash,
        an_outage_is_told_and_heals,
        a_corrupt_message_is_a_no_op_for_every_reader,
        an_unknown_version_stops_the_reader,
        a_late_copy_does_nothing;
    checkpoints:
        a_store_opened_from_a_checkpoint_is_the_same,
        a_watch_goes_on_across_a_checkpoint,
        a_late_copy_does_nothing_after_a_checkpoint,
        two_checkpoint_writers_do_no_harm,
        a_reader_of_a_quiet_class_is_not_disturbed_by_checkpoints,
        a_reader_left_behind_a_purge_goes_on_from_the_checkpoint;
    events:
        events_have_an_order_of_their_own,
        events_leave_by_age,
        events_leave_a_log_that_nobody_writes_to;
}
