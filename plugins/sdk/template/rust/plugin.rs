//! Everybody may read, and a client may lock for writing, or take permits of, only the path that is
//! its own name and what is below.
mod locktopus;
use locktopus::{Answer, Mode, Request, Verdict};

// The hooks that the plugin serves: functions of these names.
locktopus::hooks!(authorize);

/// Is asked about each request of a client.
fn authorize(r: Request, answer: Answer) -> Verdict {
    if !r.operation.is_known() {
        return answer.deny(0, "unknown operation");
    }
    for resource in r.resources() {
        if resource.mode != Mode::READ && !resource.path.under_segment(r.principal) {
            return answer.deny(1, "only what is below your own name is yours to write");
        }
    }
    answer.allow()
}

// There are more hooks. Take the comment signs of one away, and name it above, in hooks!, and in the
// configuration.

// Is asked who a client is that connects. This one takes the name from its certificate: of one that
// wasn't verified, a plugin is told nothing.
/*
fn authenticate(c: locktopus::Connect, answer: Answer) -> Verdict {
    match c.find(locktopus::Kind::FACT, "subject-cn") {
        Some(name) => answer.identity(0, name, ""),
        None => answer.deny(0, "show a certificate"),
    }
}
*/

// Is asked what the paths of a request mean, before authorize is. It must find the same for a path
// every time and everywhere. This one makes the letters A to Z small.
/*
fn normalize(r: Request, answer: Answer) -> Verdict {
    let mut w = answer.rewrite();
    for resource in r.resources() {
        for segment in resource.path.segments() {
            w.segment(segment.iter().map(u8::to_ascii_lowercase));
        }
        w.end();
    }
    w.verdict()
}
*/

// Is called once, before all others, with what [plugins.config] says, as JSON, or with nothing. The
// bytes are gone when it returns.
/*
fn init(config: &[u8], answer: Answer) -> Verdict {
    if !config.is_empty() {
        locktopus::log(locktopus::Level::INFO, config);
    }
    answer.allow()
}
*/
