//! Whose turn it is: most clusters wait most of the time, so two tests run side by side; one that
//! measures time has the machine to itself.

use std::sync::{Condvar, Mutex, PoisonError};

/// Clusters at once.
const PLACES: usize = 2;

static TAKEN: Mutex<usize> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();

/// Places that are given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(usize);

impl Turn {
    /// Beside another.
    pub(crate) fn beside() -> Self {
        Self::take(1)
    }

    /// Alone.
    pub(crate) fn alone() -> Self {
        Self::take(PLACES)
    }

    fn take(places: usize) -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let free = LEFT.wait_while(taken, |taken| *taken + places > PLACES);
        *free.unwrap_or_else(PoisonError::into_inner) += places;
        Self(places)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        LEFT.notify_all();
    }
}
