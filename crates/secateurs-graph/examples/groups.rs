use secateurs_graph::coupling::*;
use secateurs_graph::Graph;
fn main() {
    for path in std::env::args().skip(1) {
        let start = std::time::Instant::now();
        let graph = Graph::read(path.as_ref()).unwrap();
        let read = start.elapsed();
        let start = std::time::Instant::now();
        let split = if std::env::var("INNER").is_ok() { Split::Inner } else { Split::Outer };
        let c = graph.coupling(&CouplingOptions { split, open: false });
        let took = start.elapsed();
        let units: usize = c.groups.iter().map(|g| g.units.len()).sum();
        let costs = Costs::new(&graph, &c, &Default::default());
        let all = costs.params(&Remaining::new(&c));
        let mut half = Selection::all(&c);
        for (g, k) in c.groups.iter().zip(&mut half.kept) { if g.inexact.is_none() { *k = k.iter().copied().filter(|i| i % 2 == 0).collect(); } }
        let left = costs.params(&Remaining::of_selection(&c, &half));
        println!("{} read {read:?} groups {} units {units} barred {} in {took:?}; half keeps {:.1} % of {all}", path.rsplit('/').next().unwrap(), c.groups.len(), c.barred.len(), 100.0 * left as f64 / all as f64);
        if std::env::var("VERBOSE").is_ok() {
            for g in &c.groups {
                println!("  {} x {} {:?}", g.units.len(), g.kind, g.inexact.as_ref().map(|r| r.describe(&graph)));
                for p in &g.parameters { println!("      {}[{}] {:?} {}", graph.values[p.value].name, p.axis, g.units[0].indices(p).len(), if p.made {"made"} else {""}); }
            }
            for b in &c.barred { println!("  barred {}[{}] {:?}: {}", graph.values[b.value].name, b.axis, graph.values[b.value].fact, b.reason.describe(&graph)); }
        }
    }
}
