//! The allocator: the system's, and beside it a few free blocks of middling size that each worker keeps.
//!
//! glibc hands out blocks of up to 1,032 bytes again without looking further. For each larger one it walks
//! its lists and joins and splits free neighbours, which every proxied request pays for, for its future, and
//! every connection. So it does for blocks that have to begin at a pair of cache lines, as tasks do. Other
//! allocators don't, but take more memory for thousands of quiet connections, which is what streams are for
//! most of their time. More of it stands in docs/architecture.md.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

/// Larger blocks than this are ours to keep; smaller ones the system keeps well itself.
const FROM: usize = 1024;
/// Blocks up to this size: a TLS record with its buffer's spare room is among them.
const TO: usize = 20 * 1024;
/// Sizes are rounded up to a multiple of this, so that blocks fit each other's place.
const STEP: usize = 128;
const MIDDLING: usize = (TO - FROM) / STEP;
/// Behind them come the classes of smaller blocks that begin at a multiple of [`WIDE_ALIGN`].
const CLASSES: usize = MIDDLING + FROM / STEP;
/// So many bytes a thread keeps at most.
const KEPT_BYTES_MAX: usize = 512 * 1024;
/// The system's own alignment.
const ALIGN: usize = 16;
/// What is kept apart from other cores' cache lines, which are fetched in pairs.
const WIDE_ALIGN: usize = 128;

/// The allocator of the process.
pub struct Allocator;

/// A free block, which holds the address of the next one of its size.
struct Free {
    next: *mut Free,
}

/// The free blocks of a thread.
struct Kept {
    is_worker: bool,
    bytes: usize,
    classes: [*mut Free; CLASSES],
}

impl Kept {
    /// Gives all blocks back. What is needed comes again; what was only once needed does not.
    #[expect(unsafe_code, reason = "free blocks are raw memory")]
    fn clear(&mut self) {
        for (class, first) in self.classes.iter_mut().enumerate() {
            let Some(layout) = layout_of(class) else { continue };
            let mut block = std::mem::replace(first, ptr::null_mut());
            while !block.is_null() {
                // SAFETY: the block was put here by `keep`, which wrote `next`, and nobody else knows of it. It
                // comes from the system, with its class's layout; the system does not come back here.
                unsafe {
                    let next = (*block).next;
                    System.dealloc(block.cast(), layout);
                    block = next;
                }
            }
        }
        self.bytes = 0;
    }
}

thread_local! {
    // Nothing in it is dropped, so it is there from a thread's first allocation to its last.
    static KEPT: UnsafeCell<Kept> =
        const { UnsafeCell::new(Kept { is_worker: false, bytes: 0, classes: [ptr::null_mut(); CLASSES] }) };
}

/// From now on this thread keeps free blocks, for as long as the process lives. For workers.
#[expect(unsafe_code, reason = "an allocator's state can't be borrowed in a way that may allocate")]
pub fn keep_on_this_thread() {
    // SAFETY: as in `take`.
    KEPT.with(|kept| unsafe { (*kept.get()).is_worker = true });
}

/// The class of a layout, and the layout of its blocks; nothing for what is left to the system.
fn class(layout: &Layout) -> Option<(usize, Layout)> {
    let (size, align) = (layout.size(), layout.align());
    let class = if align <= ALIGN && (FROM + 1..=TO).contains(&size) {
        (size - FROM - 1) / STEP
    } else if align == WIDE_ALIGN && (1..=FROM).contains(&size) {
        MIDDLING + (size - 1) / STEP
    } else {
        return None;
    };
    layout_of(class).map(|rounded| (class, rounded))
}

/// How many bytes the blocks of a class have.
fn size_of(class: usize) -> usize {
    if class < MIDDLING { FROM + (class + 1) * STEP } else { (class - MIDDLING + 1) * STEP }
}

/// How blocks of a class are laid out.
fn layout_of(class: usize) -> Option<Layout> {
    let align = if class < MIDDLING { ALIGN } else { WIDE_ALIGN };
    Layout::from_size_align(size_of(class), align).ok()
}

/// A free block of a class, if this thread keeps one.
#[expect(unsafe_code, reason = "free blocks are raw memory")]
fn take(class: usize) -> Option<*mut u8> {
    // SAFETY: the cell is this thread's, and nothing in this closure can come back here: it neither
    // allocates nor calls anything that could. So there is no second reference.
    KEPT.with(|kept| unsafe {
        let kept = &mut *kept.get();
        let block = kept.classes[class];
        if block.is_null() {
            return None;
        }
        // The block was put here by `keep`, which wrote `next`, and nobody else knows of it.
        kept.classes[class] = (*block).next;
        kept.bytes -= size_of(class);
        Some(block.cast())
    })
}

/// Keeps a free block of a class, if this thread keeps any.
#[expect(unsafe_code, reason = "free blocks are raw memory")]
fn keep(block: *mut u8, class: usize) -> bool {
    let size = size_of(class);
    // SAFETY: for the cell, as in `take`. The block is `size` bytes that its owner has just given up,
    // aligned to 16 at least, so there is room for `Free`.
    KEPT.with(|kept| unsafe {
        let kept = &mut *kept.get();
        if !kept.is_worker {
            return false;
        }
        if kept.bytes + size > KEPT_BYTES_MAX {
            kept.clear();
        }
        let block = block.cast::<Free>();
        block.write(Free { next: kept.classes[class] });
        kept.classes[class] = block;
        kept.bytes += size;
        true
    })
}

// SAFETY: a block is either the system's, of exactly the layout that was asked for, or of a class; then it
// is the system's of the class's layout, which is larger and at least as aligned. Which of both it is
// follows from its layout alone, which callers give again when they free or resize it, on whatever thread.
#[expect(unsafe_code, reason = "allocators are unsafe to implement")]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((class, rounded)) = class(&layout) else {
            // SAFETY: the caller's promises are those that the system asks for.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: a class's layout has a size.
        take(class).unwrap_or_else(|| unsafe { System.alloc(rounded) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some((class, rounded)) = class(&layout) else {
            // SAFETY: as in `alloc`.
            return unsafe { System.alloc_zeroed(layout) };
        };
        match take(class) {
            Some(block) => {
                // SAFETY: the block has at least so many bytes.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            // SAFETY: a class's layout has a size.
            None => unsafe { System.alloc_zeroed(rounded) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(&layout) {
            // SAFETY: the caller's promises are those that the system asks for.
            None => unsafe { System.dealloc(block, layout) },
            Some((class, _)) if keep(block, class) => {}
            // SAFETY: blocks of this class come from the system with this layout.
            Some((_, rounded)) => unsafe { System.dealloc(block, rounded) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The caller promises that this is a layout.
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return ptr::null_mut() };
        match (class(&layout), class(&new)) {
            // SAFETY: the caller's promises are those that the system asks for.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some((old, _)), Some((new, _))) if old == new => block,
            // SAFETY: both blocks are valid for the shorter size, and two blocks don't overlap; the old
            // one is freed by its own layout.
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_bytes() -> usize {
        #[expect(unsafe_code, reason = "as in `take`")]
        // SAFETY: as in `take`.
        KEPT.with(|kept| unsafe { (*kept.get()).bytes })
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn every_size_between_has_a_class_that_holds_it() {
        for size in [0, 1, FROM, TO + 1, 1 << 30] {
            assert_eq!(class(&layout(size)), None, "{size}");
        }
        for size in FROM + 1..=TO {
            let (class, rounded) = class(&layout(size)).unwrap();
            assert!(class < MIDDLING && rounded.size() >= size && rounded.size() < size + STEP, "{size}");
        }
        for size in 1..=FROM {
            let wide = Layout::from_size_align(size, WIDE_ALIGN).unwrap();
            let (class, rounded) = class(&wide).unwrap();
            assert!((MIDDLING..CLASSES).contains(&class) && rounded.align() == WIDE_ALIGN, "{size}");
            assert!(rounded.size() >= size && rounded.size() < size + STEP, "{size}");
        }
        for (size, align) in [(2048, 32), (512, 32), (2048, WIDE_ALIGN), (512, 2 * WIDE_ALIGN)] {
            assert_eq!(class(&Layout::from_size_align(size, align).unwrap()), None);
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "an allocator is tried")]
    fn a_worker_gets_its_own_blocks_back_within_a_bound() {
        let try_out = || {
            keep_on_this_thread();
            // SAFETY: each block is used within its layout and freed once, with it.
            unsafe {
                let first = Allocator.alloc(layout(8192));
                Allocator.dealloc(first, layout(8192));
                assert_eq!(kept_bytes(), 8192);
                let again = Allocator.alloc_zeroed(layout(8190));
                assert_eq!(again, first);
                assert!(std::slice::from_raw_parts(again, 8190).iter().all(|byte| *byte == 0));
                again.write_bytes(7, 8190);
                assert_eq!(Allocator.realloc(again, layout(8190), 8100), again);
                let grown = Allocator.realloc(again, layout(8100), 100_000);
                assert!(std::slice::from_raw_parts(grown, 8100).iter().all(|byte| *byte == 7));
                let shrunk = Allocator.realloc(grown, layout(100_000), 100);
                assert!(std::slice::from_raw_parts(shrunk, 100).iter().all(|byte| *byte == 7));
                Allocator.dealloc(shrunk, layout(100));
                let wide = Layout::from_size_align(300, WIDE_ALIGN).unwrap();
                let first = Allocator.alloc(wide);
                Allocator.dealloc(first, wide);
                assert_eq!((Allocator.alloc(wide), first.addr() % WIDE_ALIGN), (first, 0));
                Allocator.dealloc(first, wide);
                let many: Vec<_> = (0..40).map(|_| Allocator.alloc(layout(16_384))).collect();
                let (first, second) = many.split_at(KEPT_BYTES_MAX / 16_384);
                let before = kept_bytes();
                for block in first {
                    Allocator.dealloc(*block, layout(16_384));
                    assert!(kept_bytes() <= KEPT_BYTES_MAX);
                }
                // There was no room for all, so what was there before has gone.
                assert!(before > 0 && kept_bytes() < KEPT_BYTES_MAX);
                for block in second {
                    Allocator.dealloc(*block, layout(16_384));
                }
                assert!((1..=KEPT_BYTES_MAX).contains(&kept_bytes()));
            }
        };
        std::thread::spawn(try_out).join().unwrap();
    }

    #[test]
    #[expect(unsafe_code, reason = "an allocator is tried")]
    fn other_threads_keep_nothing() {
        let try_out = || {
            // SAFETY: the block is freed once, with its layout.
            unsafe { Allocator.dealloc(Allocator.alloc(layout(8192)), layout(8192)) };
            assert_eq!(kept_bytes(), 0);
        };
        std::thread::spawn(try_out).join().unwrap();
    }
}
