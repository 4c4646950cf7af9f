//! Who imports whom, and the check that nobody imports himself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::limits::GRAPH_STEPS_MAX;

/// Files and snippets by name, and what each imports.
#[derive(Debug, Default)]
pub(crate) struct ImportGraph {
    edges: HashMap<Arc<str>, HashSet<Arc<str>>>,
    steps: usize,
}

/// Why an import may not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GraphError {
    #[error("a cycle of imports exists between {from} and {to}")]
    Cycle { from: Arc<str>, to: Arc<str> },
    #[error("files and snippets import each other too often")]
    TooLarge,
}

impl ImportGraph {
    /// Notes that `from` imports each of `tos`.
    pub(crate) fn connect(&mut self, from: &Arc<str>, tos: &[Arc<str>]) -> Result<(), GraphError> {
        for to in tos {
            // An edge that is there already was checked when it came.
            if self.edges.get(from).is_some_and(|edges| edges.contains(to)) {
                continue;
            }
            if from == to || self.leads(to, from)? {
                return Err(GraphError::Cycle { from: from.clone(), to: to.clone() });
            }
            self.edges.entry(from.clone()).or_default().insert(to.clone());
        }
        Ok(())
    }

    /// Does `from` import `to`, directly or by way of others?
    fn leads(&mut self, from: &Arc<str>, to: &Arc<str>) -> Result<bool, GraphError> {
        let mut seen = HashSet::new();
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            for next in self.edges.get(node).into_iter().flatten() {
                self.steps += 1;
                if self.steps > GRAPH_STEPS_MAX {
                    return Err(GraphError::TooLarge);
                }
                if next == to {
                    return Ok(true);
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_found_however_long() {
        let mut graph = ImportGraph::default();
        let name = |number: usize| Arc::from(number.to_string());
        for number in 0..1000 {
            graph.connect(&name(number), &[name(number + 1), name(number + 2)]).expect("no cycle yet");
        }
        let cycle = graph.connect(&name(1000), &[name(0)]).expect_err("a cycle");
        assert_eq!(cycle.to_string(), "a cycle of imports exists between 1000 and 0");
    }

    #[test]
    fn nobody_imports_himself() {
        let names: [Arc<str>; 1] = ["a".into()];
        assert!(ImportGraph::default().connect(&names[0], &names).is_err());
    }
}
