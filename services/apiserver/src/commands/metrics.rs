//! How many commands there were, and what became of them.

use std::sync::LazyLock;

use bus::command::Reply;
use prometheus::{IntCounterVec, register_int_counter_vec};

static COMMANDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "sampan_apiserver_commands_total",
        "Writes by bus command, by verb and HTTP code of the answer.",
        &["verb", "code"]
    )
    .expect("the metric is registered once")
});

/// Counts an answer.
pub fn count(verb: &str, reply: &Reply) {
    let code = match reply {
        Ok(_) => 200,
        Err(status) => status.code(),
    };
    COMMANDS.with_label_values(&[verb, &code.to_string()]).inc();
}
