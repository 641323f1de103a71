//! Ctrl-C and the signal to end.

use std::sync::atomic::{AtomicU8, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The exit code of a program that was interrupted.
pub const EXIT_CODE: u8 = 130;
const MESSAGE: &str = "interrupted; the same command goes on";

/// Nothing is lost if the program ends at once.
const AT_ONCE: u8 = 0;
/// A step of training should be finished first.
const AFTER_THE_STEP: u8 = 1;
/// It was asked to.
const ASKED: u8 = 2;
static STATE: AtomicU8 = AtomicU8::new(AT_ONCE);

/// Ends the program on a signal: while training after the step, unless it comes twice; otherwise at once.
pub fn watch() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let exchanged = STATE.compare_exchange(AFTER_THE_STEP, ASKED, Ordering::SeqCst, Ordering::SeqCst);
            match exchanged {
                Ok(_) => eprintln!("\nending after this step; once more ends at once"),
                Err(_) => {
                    eprintln!("\n{MESSAGE}");
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

/// The last words.
pub fn message() -> &'static str {
    MESSAGE
}
