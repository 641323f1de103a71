//! Ctrl-C and the signal to end.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::progress::say;

/// The exit code of a program that was interrupted.
pub const EXIT_CODE: u8 = 130;

/// Nothing is lost if the program ends at once.
const AT_ONCE: u8 = 0;
/// A step of training should be finished first.
const AFTER_THE_STEP: u8 = 1;
/// It was asked to.
const ASKED: u8 = 2;
static STATE: AtomicU8 = AtomicU8::new(AT_ONCE);
/// Whether the command begins anew what it finds.
static RESTARTS: AtomicBool = AtomicBool::new(false);

/// Ends the program on a signal: while training after the step, unless it comes twice; otherwise at once. `restart` is whether the command
/// begins anew what it finds.
pub fn watch(restart: bool) -> std::io::Result<()> {
    RESTARTS.store(restart, Ordering::SeqCst);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let exchanged = STATE.compare_exchange(AFTER_THE_STEP, ASKED, Ordering::SeqCst, Ordering::SeqCst);
            match exchanged {
                Ok(_) => say("\nending after this step; once more ends at once"),
                Err(_) => {
                    say(format_args!("\n{}", message()));
                    // Without destructors, as other threads are at work.
                    signal_hook::low_level::exit(EXIT_CODE.into());
                }
            }
        }
    });
    Ok(())
}

/// Says whether training is at work, which ends on a signal by itself.
pub fn training(at_work: bool) {
    let (from, to) = if at_work { (AT_ONCE, AFTER_THE_STEP) } else { (AFTER_THE_STEP, AT_ONCE) };
    let _ = STATE.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
}

/// Whether a signal has come while training.
pub fn asked() -> bool {
    STATE.load(Ordering::SeqCst) == ASKED
}

/// How what was begun is gone on with.
pub fn remedy() -> &'static str {
    match RESTARTS.load(Ordering::SeqCst) {
        true => "the same command without --restart goes on",
        false => "the same command goes on",
    }
}

/// The last words.
pub fn message() -> String {
    format!("interrupted; {}", remedy())
}
