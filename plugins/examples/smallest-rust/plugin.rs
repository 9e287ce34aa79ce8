//! Lets a client write only below its own name, and everybody read.
#[path = "../../sdk/rust/locktopus.rs"]
mod locktopus;
use locktopus::{Answer, Mode, Request, Verdict};

locktopus::hooks!(authorize);

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
