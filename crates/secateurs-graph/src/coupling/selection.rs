//! Which units stay, and what that leaves of every axis.

use super::groups::{Coupling, Group, ParameterAxis};
use crate::surgery::Choice;

/// Which units stay: for each group the numbers of the kept units, ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// The kept units of each group.
    pub kept: Vec<Vec<usize>>,
}

impl Selection {
    /// Everything stays.
    pub fn all(coupling: &Coupling) -> Selection {
        Selection::without(coupling, &[])
    }

    /// All stay but some, by group; of groups beyond the end of `gone` all do.
    pub fn without(coupling: &Coupling, gone: &[Vec<usize>]) -> Selection {
        let kept = |(g, group): (usize, &Group)| {
            let gone = gone.get(g).map_or(&[][..], Vec::as_slice);
            (0..group.units.len()).filter(|unit| !gone.contains(unit)).collect()
        };
        Selection { kept: coupling.groups.iter().enumerate().map(kept).collect() }
    }
}

/// How many indices of every axis are left while units are removed one by one.
#[derive(Clone)]
pub struct Remaining<'c> {
    coupling: &'c Coupling,
    kept: Vec<usize>,
    units: Vec<usize>,
    /// How many of them belong to units that are computed in another form.
    implanted: Vec<usize>,
}

impl<'c> Remaining<'c> {
    /// Everything is left.
    pub fn new(coupling: &'c Coupling) -> Remaining<'c> {
        let kept: Vec<usize> = coupling.spaces.spaces.iter().map(|s| s.cells).collect();
        let units = coupling.groups.iter().map(|g| g.units.len()).collect();
        Remaining { coupling, implanted: vec![0; kept.len()], kept, units }
    }

    /// Removes a unit that is not implanted; false, and nothing happens, where an axis would lose its last index.
    pub fn remove(&mut self, group: usize, unit: usize) -> bool {
        let indices = &self.coupling.groups[group].units[unit].indices;
        let spaces = &self.coupling.spaces.spaces;
        let emptied = |space: u32, gone: usize| {
            spaces[space as usize].example.is_some() && self.kept[space as usize] <= gone
        };
        if indices.iter().any(|(space, gone)| emptied(*space, gone.len())) {
            return false;
        }
        indices.iter().for_each(|(space, gone)| self.kept[*space as usize] -= gone.len());
        self.units[group] -= 1;
        true
    }

    /// Takes a removal back.
    pub fn restore(&mut self, group: usize, unit: usize) {
        let indices = &self.coupling.groups[group].units[unit].indices;
        indices.iter().for_each(|(space, gone)| self.kept[*space as usize] += gone.len());
        self.units[group] += 1;
    }

    /// From now on a unit that is left is computed in the form that [`Costs`](super::Costs) has for the nodes that make it.
    pub fn implant(&mut self, group: usize, unit: usize) {
        let indices = &self.coupling.groups[group].units[unit].indices;
        indices.iter().for_each(|(space, own)| self.implanted[*space as usize] += own.len());
    }

    /// Takes an implant back.
    pub fn explant(&mut self, group: usize, unit: usize) {
        let indices = &self.coupling.groups[group].units[unit].indices;
        indices.iter().for_each(|(space, own)| self.implanted[*space as usize] -= own.len());
    }

    /// What is left of a choice.
    pub fn of_choice(coupling: &'c Coupling, choice: &Choice) -> Remaining<'c> {
        let mut remaining = Remaining::of_selection(coupling, &choice.selection);
        for (group, units) in choice.implanted.iter().enumerate() {
            units.iter().for_each(|&unit| remaining.implant(group, unit));
        }
        remaining
    }

    /// What is left when only `selection` stays.
    pub fn of_selection(coupling: &'c Coupling, selection: &Selection) -> Remaining<'c> {
        let mut remaining = Remaining::new(coupling);
        remaining.units = selection.kept.iter().map(Vec::len).collect();
        for (group, kept) in coupling.groups.iter().zip(&selection.kept) {
            let mut kept = kept.iter().copied().peekable();
            for (i, unit) in group.units.iter().enumerate() {
                if kept.next_if_eq(&i).is_none() {
                    unit.indices
                        .iter()
                        .for_each(|(space, gone)| remaining.kept[*space as usize] -= gone.len());
                }
            }
        }
        remaining
    }

    /// How many indices of a parameter's axis are left.
    pub fn size(&self, parameter: &ParameterAxis) -> usize {
        self.of(parameter.space)
    }

    /// How many units of a group are left.
    pub fn units(&self, group: usize) -> usize {
        self.units[group]
    }

    /// How many indices of all axes belong to units that are computed in another form.
    pub fn implants(&self) -> usize {
        self.implanted.iter().sum()
    }

    pub(crate) fn of(&self, space: u32) -> usize {
        self.kept[space as usize]
    }

    pub(crate) fn implanted(&self, space: u32) -> usize {
        self.implanted[space as usize]
    }
}
