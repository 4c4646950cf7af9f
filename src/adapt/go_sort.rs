//! Go's stable sort.
//!
//! Some of Caddy's comparisons are no orders: for `vars` two equal elements each come before the other. What comes
//! out then depends on the algorithm, so this is the one of Go's `sort.SliceStable`. (Rust's own may panic there.)

/// Elements that are sorted by insertion before they are merged.
const BLOCK: usize = 20;

/// Sorts as Go's `sort.SliceStable` does.
pub(super) fn stable_sort<T>(items: &mut [T], mut less: impl FnMut(&T, &T) -> bool) {
    let less = &mut less;
    let len = items.len();
    for start in (0..len).step_by(BLOCK) {
        insertion_sort(&mut items[start..len.min(start + BLOCK)], less);
    }
    let mut block = BLOCK;
    while block < len {
        for start in (0..len).step_by(2 * block) {
            if start + block < len {
                merge(&mut items[start..len.min(start + 2 * block)], block, less);
            }
        }
        block *= 2;
    }
}

fn insertion_sort<T>(items: &mut [T], less: &mut impl FnMut(&T, &T) -> bool) {
    for i in 1..items.len() {
        for j in (1..=i).rev() {
            if !less(&items[j], &items[j - 1]) {
                break;
            }
            items.swap(j, j - 1);
        }
    }
}

/// Merges the sorted parts before and from `mid` without further memory (Kim and Kutzner's SymMerge).
fn merge<T>(items: &mut [T], mid: usize, less: &mut impl FnMut(&T, &T) -> bool) {
    let len = items.len();
    if mid == 0 || mid == len {
        return;
    }
    if mid == 1 {
        let mut low = 1;
        let mut high = len;
        while low < high {
            let half = usize::midpoint(low, high);
            if less(&items[half], &items[0]) { low = half + 1 } else { high = half }
        }
        items[..low].rotate_left(1);
        return;
    }
    if len - mid == 1 {
        let mut low = 0;
        let mut high = mid;
        while low < high {
            let half = usize::midpoint(low, high);
            if less(&items[mid], &items[half]) { high = half } else { low = half + 1 }
        }
        items[low..].rotate_right(1);
        return;
    }
    let half = len / 2;
    let total = half + mid;
    let (mut start, mut bound) = if mid > half { (total - len, half) } else { (0, mid) };
    let last = total - 1;
    while start < bound {
        let middle = usize::midpoint(start, bound);
        if less(&items[last - middle], &items[middle]) { bound = middle } else { start = middle + 1 }
    }
    let end = total - start;
    if start < mid && mid < end {
        items[start..end].rotate_left(mid - start);
    }
    if 0 < start && start < half {
        merge(&mut items[..half], start, less);
    }
    if half < end && end < len {
        merge(&mut items[half..], end - half, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_sorted_stably() {
        for len in [0, 1, 2, 19, 20, 21, 40, 41, 100, 333] {
            let mut items: Vec<(usize, usize)> = (0..len).map(|i| (i * 7919 % 13, i)).collect();
            let mut sorted = items.clone();
            sorted.sort_by_key(|item| item.0);
            stable_sort(&mut items, |a, b| a.0 < b.0);
            assert_eq!(items, sorted, "{len} items");
        }
    }

    #[test]
    fn always_less_reverses_as_in_go() {
        let mut items = [1, 2, 3, 4];
        stable_sort(&mut items, |_, _| true);
        assert_eq!(items, [4, 3, 2, 1]);
    }
}
