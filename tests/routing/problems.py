"""Sums in words of one to six steps, told in ten styles: how much work they are is known."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROBLEMS", "Problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A sum in words."""

    text: str
    steps: int
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Story:
    """What is known at first, then what each step adds, and what is asked."""

    style: str
    opening: str
    steps: tuple[str, str, str, str, str, str]
    question: str

    def told(self, steps: int) -> Problem:
        text = " ".join([self.opening, *self.steps[:steps], self.question])
        return Problem(text=text, steps=steps, style=self.style)


_STORIES = (
    _Story(
        style="terse",
        opening="Shed: 14 planks.",
        steps=(
            "Bought 9.",
            "Sawed each into 3.",
            "Burned 5.",
            "Sold half.",
            "Painted 6 of the rest.",
            "Gave away 8 plain ones.",
        ),
        question="Plain ones left?",
    ),
    _Story(
        style="chatty",
        opening=(
            "My neighbour Ottilie, a cheerful woman who has kept bees behind the old mill for as "
            "long as anybody in our street can remember, likes to talk about her honey. This "
            "morning she told me, over the fence and in no hurry at all, that there were 20 jars."
        ),
        steps=(
            "Then she filled 12 more.",
            "Her sister took 7.",
            "The rest went into boxes of 5.",
            "A box sells for 30 euros.",
            "The market keeps 10 percent of that.",
            "She paid 16 for the stall.",
        ),
        question="How much, I wonder, does our dear Ottilie end up with?",
    ),
    _Story(
        style="one long sentence",
        opening="If a ferry leaves with 60 passengers",
        steps=(
            "and takes on 25 at the island,",
            "where 18 get off,",
            "and at the cape twice as many get on as got off before,",
            "while a third of all leave at the harbour,",
            "and every one who is left pays 4 for a map,",
            "of which the captain hands on 50 to the port,",
        ),
        question="then what is the result?",
    ),
    _Story(
        style="numbers in words",
        opening="A baker puts forty rolls on the shelf.",
        steps=(
            "By eight, fifteen are gone.",
            "She bakes thirty more.",
            "A school fetches two dozen.",
            "Each of the others costs three coins.",
            "Six of them are given away.",
            "Flour cost twenty coins.",
        ),
        question="How many coins did she earn?",
    ),
    _Story(
        style="formal",
        opening="Consider a reservoir that contains 900 litres of water.",
        steps=(
            "An inflow contributes 45 litres per hour over 4 hours.",
            "Subsequently, evaporation removes 2 percent of the contents.",
            "An outlet is opened for 3 hours, discharging 70 litres per hour.",
            "The remainder is distributed equally among 6 basins.",
            "Each basin is thereafter supplemented by 11 litres.",
            "Finally, 2 basins are emptied.",
        ),
        question="Determine the total volume that remains, in litres.",
    ),
    _Story(
        style="first person",
        opening="I had 50 stickers when I woke up.",
        steps=(
            "I lost 8 on the bus.",
            "My friend gave me 3 packs of 6.",
            "I glued 15 into my album.",
            "I swapped 4 for 9 of hers.",
            "My brother got a quarter of what I had.",
            "I found 2 under my bed.",
        ),
        question="How many do I have now?",
    ),
    _Story(
        style="imperative",
        opening="Take the number 17.",
        steps=(
            "Add 5.",
            "Multiply it by 3.",
            "Subtract 12.",
            "Halve what you have.",
            "Add the square of 4.",
            "Divide it by 10.",
        ),
        question="State the answer, please, and nothing else.",
    ),
    _Story(
        style="a wordy wrapper",
        opening=(
            "You are a patient teacher of arithmetic. Read the following exercise with care, think "
            "about it before you write anything, and explain to the class how you got there, in "
            "plain words that a child can follow. A farm has 32 hens."
        ),
        steps=(
            "Each lays 5 eggs per week.",
            "The family eats 20 of them.",
            "The others are packed by the 10.",
            "A pack costs 2.50.",
            "Feed costs 9 per week.",
            "All of this goes on for 4 weeks.",
        ),
        question="What is the profit?",
    ),
    _Story(
        style="story in the past",
        opening="The caravan of old Yusuf had set out with 80 sacks of salt.",
        steps=(
            "At the first well he traded 14 for dates.",
            "A storm spoiled 9 more.",
            "At the pass, soldiers took one in every 3.",
            "He bought 25 from a stranger.",
            "His 5 sons carried equal loads of what there was.",
            "The youngest dropped 2.",
        ),
        question="How many sacks did the youngest bring home?",
    ),
    _Story(
        style="telegraphic money",
        opening="Phone plan, $20 base.",
        steps=(
            "Plus 40 min at $0.10.",
            "Plus 3 GB at $5.",
            "Less a 15% discount.",
            "Tax 8%.",
            "Split by 2 people.",
            "Minus a $6 voucher for each.",
        ),
        question="Cost for one?",
    ),
)

PROBLEMS = tuple(story.told(steps) for story in _STORIES for steps in range(1, 7))
"""Sixty of them."""
