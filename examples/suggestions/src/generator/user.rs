//! One user: where they live, what they like, how they file things, and their payments over the months.

use super::brands::Brands;
use super::dice::Dice;
use super::spending::{self, HABITS, OPINIONS, Spending};
use super::statement::{self, CITIES};
use crate::transactions::NewTransaction;

/// Share of payments at a place the user has gone to before.
const FAITHFUL: f64 = 0.72;
/// Share of labels that users get wrong.
const MISTAKES: f64 = 0.02;
/// Share of payments that users file themselves.
const LABELLED: f64 = 0.9;
/// Share of card payments for which the feed gives a category code.
const WITH_MCC: f64 = 0.12;

/// A payment and what it truly is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// As the store holds it; ids are given later, in order of time.
    pub transaction: NewTransaction,
    /// The label and when the user gave it (seconds since 1970), if they did.
    pub label: Option<(&'static str, i64)>,
}

/// The months in which payments fall, seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) days: i64,
}

pub(super) struct World {
    brands: Vec<Brands>,
}

impl World {
    pub(super) fn new() -> Self {
        Self { brands: HABITS.iter().map(|habit| Brands::of(habit.label)).collect() }
    }
}

/// A user's payments, in no order.
pub(super) fn payments(world: &World, seed: u64, number: u64, span: Span, usual_count: f64) -> Vec<Payment> {
    let mut dice = Dice::new(seed, number + 1);
    let user = User::new(world, number, &mut dice);
    let count = (usual_count * (0.6 * dice.normal()).exp() * 0.85).round().clamp(4.0, usual_count * 6.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
    let count = count as usize;
    (0..count).map(|_| user.payment(world, span, &mut dice)).collect()
}

struct User {
    id: String,
    city: &'static str,
    /// How often each label, relative to the others.
    tastes: Vec<f64>,
    /// Places gone to again and again, by label.
    favourites: Vec<Vec<String>>,
    /// What they file under another label than most: places of [`OPINIONS`].
    opinions: Vec<bool>,
    /// Their payments are larger or smaller than usual by this factor.
    wealth: f64,
}

impl User {
    fn new(world: &World, number: u64, dice: &mut Dice) -> Self {
        let tastes = HABITS.iter().map(|habit| habit.weight * (0.5 * dice.normal()).exp()).collect();
        let favourites = world
            .brands
            .iter()
            .map(|brands| {
                let many = dice.between(1, 4);
                (0..many).map(|_| brands.draw(dice).to_owned()).collect()
            })
            .collect();
        Self {
            id: format!("user-{:04}", number + 1),
            city: dice.pick(&CITIES).copied().unwrap_or("SEATTLE WA"),
            tastes,
            favourites,
            opinions: OPINIONS.iter().map(|(_, _, share)| dice.chance(*share)).collect(),
            wealth: (0.25 * dice.normal()).exp(),
        }
    }

    fn payment(&self, world: &World, span: Span, dice: &mut Dice) -> Payment {
        let at = dice.weighted(self.tastes.iter().copied());
        let Some((habit, brands)) = HABITS.get(at).zip(world.brands.get(at)) else {
            // Unreachable: tastes, habits and brands have one entry per label.
            return self.payment_at(&HABITS[0], "COSTCO WHSE", span, dice);
        };
        let favourites = self.favourites.get(at).map_or(&[][..], Vec::as_slice);
        let brand = if dice.chance(FAITHFUL) { dice.pick(favourites).cloned() } else { None };
        let brand = brand.unwrap_or_else(|| brands.draw(dice).to_owned());
        self.payment_at(habit, &brand, span, dice)
    }

    fn payment_at(&self, habit: &Spending, brand: &str, span: Span, dice: &mut Dice) -> Payment {
        let mut brand = brand;
        // Rent is often sent to a person.
        let to_a_person = habit.label == "housing" && dice.chance(0.18);
        if to_a_person {
            brand = if dice.chance(0.6) { "ZELLE TO" } else { "VENMO PAYMENT" };
        }
        let online = dice.chance(habit.online);
        let occurred_at = time(habit, span, dice);
        let p2p = to_a_person || habit.label == "transfers" && !brand.starts_with("PAYPAL");
        let subscription = matches!(habit.label, "utilities" | "health.insurance" | "housing")
            || habit.label == "entertainment" && habit.online > 0.5 && online && dice.chance(0.6);
        let memo = if dice.chance(habit.noted) { dice.pick(habit.memos).copied().unwrap_or("") } else { "" };
        let mcc = if habit.channel.is_none() && dice.chance(WITH_MCC) { dice.pick(habit.mccs).copied() } else { None };
        let channel = if to_a_person { "transfer" } else { spending::channel(habit, online) };
        let transaction = NewTransaction {
            id: 0,
            user_id: self.id.clone(),
            occurred_at,
            merchant: statement::write(brand, habit.label, online, self.city, dice),
            memo: memo.to_owned(),
            amount_cents: self.cents(habit, dice),
            channel: channel.to_owned(),
            mcc,
            subscription: Some(subscription),
            p2p: Some(p2p),
        };
        Payment { transaction, label: self.label(habit.label, brand, occurred_at, dice) }
    }

    fn cents(&self, habit: &Spending, dice: &mut Dice) -> i64 {
        let amount = habit.usual * self.wealth * (habit.spread * dice.normal()).exp();
        let unit = if dice.chance(habit.round) { 500.0 } else { 1.0 };
        #[allow(clippy::cast_possible_truncation)] // at most a few million
        let cents = (((amount * 100.0 / unit).round() * unit) as i64).clamp(50, 2_500_000);
        if habit.label == "income" { cents } else { -cents }
    }

    fn label(
        &self,
        truth: &'static str,
        brand: &str,
        occurred_at: i64,
        dice: &mut Dice,
    ) -> Option<(&'static str, i64)> {
        if !dice.chance(LABELLED) {
            return None;
        }
        let own = OPINIONS
            .iter()
            .zip(&self.opinions)
            .find(|((merchant, _, _), holds)| **holds && brand.starts_with(merchant));
        let mut label = own.map_or(truth, |((_, label, _), _)| *label);
        if dice.chance(MISTAKES) {
            label = dice.pick(&HABITS).map_or(label, |habit| habit.label);
        }
        Some((label, occurred_at + dice.between(60, 3 * 86_400)))
    }
}

/// A moment in the span: half of the payments in the label's busy hours.
fn time(habit: &Spending, span: Span, dice: &mut Dice) -> i64 {
    let day = dice.between(0, span.days - 1);
    let hour = if dice.chance(0.75) { dice.between(habit.busy.0, habit.busy.1 - 1) } else { dice.between(0, 23) };
    span.from + day * 86_400 + hour * 3_600 + dice.between(0, 3_599)
}
