# ruff: noqa: RUF001 -- the texts hold easily confused characters, on purpose
"""Texts for the tests of Deduplicate: versions that must both stay, copies that must not."""

from __future__ import annotations

import textwrap

AROUND = (
    "This agreement is made between the parties named in the schedule and binds their successors. "
    "Words in the singular include the plural where the sense requires it.",
    "Nothing in this agreement makes either party the agent of the other. "
    "If a provision turns out to be void, the others remain in force. "
    "The schedule is part of this agreement.",
)

VERSIONS: dict[str, tuple[str, str]] = {
    "number": (
        "Each party may end it on 30 days' notice.",
        "Each party may end it on 60 days' notice.",
    ),
    "digit added": ("The tenant has 15 keys.", "The tenant has 150 keys."),
    "decimal point": ("The dose is 1.5 mg per day.", "The dose is 15 mg per day."),
    "decimal comma": ("Die Dosis ist 1,5 mg am Tag.", "Die Dosis ist 15 mg am Tag."),
    "point or comma": ("The total is 1.500 euros.", "The total is 1,500 euros."),
    "leading point": ("The rate is .5 per month.", "The rate is 5 per month."),
    "thousands": ("The fee is 1,000 dollars.", "The fee is 1,000,000 dollars."),
    "date": ("It starts on 1 March 2021.", "It starts on 1 May 2021."),
    "iso date": ("It starts on 2021-03-01.", "It starts on 2021-01-03."),
    "year": ("The report of 2019 applies.", "The report of 2020 applies."),
    "amount": ("The price is $4.50 per unit.", "The price is $45.0 per unit."),
    "currency sign": ("The price is $450 per unit.", "The price is €450 per unit."),
    "currency sign lost": ("The price is $450 per unit.", "The price is 450 per unit."),
    "percent lost": ("Interest is 5% of the sum.", "Interest is 5 of the sum."),
    "per mille": ("Interest is 5% of the sum.", "Interest is 5‰ of the sum."),
    "name": ("Notices go to Anna Berg.", "Notices go to Anna Bergen."),
    "place": ("The laws of Delaware govern it.", "The laws of Nevada govern it."),
    "unit": ("The pipe is 5 cm wide.", "The pipe is 5 mm wide."),
    "unit case": ("The laser has 5 mW of power.", "The laser has 5 MW of power."),
    "unit case attached": ("The laser has 5mW of power.", "The laser has 5MW of power."),
    "bits and bytes": ("The link has 100 Mb per second.", "The link has 100 MB per second."),
    "superscript": ("There are 10² samples.", "There are 102 samples."),
    "subscript": ("The index is x₁ here.", "The index is x₂ here."),
    "fraction": ("It takes ½ hour.", "It takes ¼ hour."),
    "fraction lost": ("It takes 1½ hours.", "It takes 1 hours."),
    "sign": ("The result was -5 degrees.", "The result was 5 degrees."),
    "true minus": ("The result was −5 degrees.", "The result was 5 degrees."),
    "plus": ("The change is +5 points.", "The change is -5 points."),
    "accounting negative": ("Net income: (1,234) dollars.", "Net income: 1,234 dollars."),
    "range": ("It takes 3-5 days.", "It takes 35 days."),
    "dash range": ("It takes 3 – 5 days.", "It takes 3 5 days."),
    "approximately": ("It costs ~5 dollars.", "It costs 5 dollars."),
    "comparison": ("The test needs p < 0.05 here.", "The test needs p > 0.05 here."),
    "inequality": ("The sum x ≤ 5 holds.", "The sum x ≥ 5 holds."),
    "not equal": ("Then a != b holds.", "Then a = b holds."),
    "feet or inches": ("The plank is 6' long.", 'The plank is 6" long.'),
    "time": ("The office opens at 10:30 daily.", "The office opens at 10:03 daily."),
    "ratio": ("Mix them 1:2 by weight.", "Mix them 12 by weight."),
    "version": ("It needs version 1.2.3 of it.", "It needs version 1.23 of it."),
    "section": ("See section 4.2 for this.", "See section 4.3 for this."),
    "negation": ("The supplier is liable for it.", "The supplier is not liable for it."),
    "contraction": ("The supplier can do this.", "The supplier can't do this."),
    "no": ("There is a fee for this.", "There is no fee for this."),
    "prefix": ("The product is harmful to fish.", "The product is harmless to fish."),
    "un-": ("The claim was lawful then.", "The claim was unlawful then."),
    "modal": ("The buyer shall inspect it.", "The buyer may inspect it."),
    "bound": ("It lasts at least 5 years.", "It lasts at most 5 years."),
    "bound lost": ("It lasts at least 5 years.", "It lasts 5 years."),
    "one word": ("He holds shares of the company.", "He holds bonds of the company."),
    "plural": ("He gets the share of it.", "He gets the shares of it."),
    "small word": ("Pay before delivery on demand.", "Pay after delivery on demand."),
    "and or": ("Send the form and the fee.", "Send the form or the fee."),
    "conjunction": ("You pay if it rains.", "You pay unless it rains."),
    "parties swapped": ("Acme owes Beta the whole sum.", "Beta owes Acme the whole sum."),
    "numbers swapped": ("A pays 10 and B pays 20.", "A pays 20 and B pays 10."),
    "same words, other order": ("The dog saw the cat that ran.", "The cat saw the dog that ran."),
    "condition": ("The fee is due.", "The fee is due if it was invoiced."),
    "condition in front": ("The fee is due.", "If it was invoiced the fee is due."),
    "exception": ("All items are covered.", "All items except glass are covered."),
    "question": ("The fee is due in May.", "The fee is due in May?"),
    "acronym": ("Give the form to US agents.", "Give the form to us agents."),
    "May or may": ("It ends in 5 May or later.", "It ends in 5 may or later."),
    "accent": ("Tiene 5 años de edad.", "Tiene 5 anos de edad."),
    "email": ("Write to ann@example.com today.", "Write to ann@example.org today."),
    "code": ("The part is AB-1234 here.", "The part is AB-1243 here."),
    "letters with digit": ("Take vitamin B12 daily.", "Take vitamin B2 daily."),
    "hyphen": ("They re-sign the lease now.", "They resign the lease now."),
    "space": ("It is now here to stay.", "It is nowhere to stay."),
    "table cell": (
        "| plan | price |\n|---|---|\n| gold | 30 |\n| silver | 20 |\n",
        "| plan | price |\n|---|---|\n| gold | 30 |\n| silver | 25 |\n",
    ),
    "table cells moved": (
        "| plan | may | june |\n|---|---|---|\n| gold | 30 | |\n",
        "| plan | may | june |\n|---|---|---|\n| gold | | 30 |\n",
    ),
    "empty cells": ("name,may,june\ngold,30,,\n", "name,may,june\ngold,,30,\n"),
    "list item": (
        "The cover includes:\n- fire\n- flood\n- theft\n",
        "The cover includes:\n- fire\n- flood\n- hail\n",
    ),
    "list item lost": (
        "The cover includes:\n- fire\n- flood\n- theft\n",
        "The cover includes:\n- fire\n- theft\n",
    ),
    "checkbox": ("[x] yes\n[ ] no\n", "[ ] yes\n[x] no\n"),
    "checkbox symbols": ("☑ yes ☐ no, as agreed.", "☐ yes ☑ no, as agreed."),
    "list renumbered": ("1. fire\n2. flood\n", "2. fire\n3. flood\n"),
    "ordinal date": ("Es gilt ab dem\n12. Mai dieses Jahres.", "Es gilt ab dem Mai dieses Jahres."),
    "initial": ("J. Smith signs for the seller.", "Smith signs for the seller."),
    "pronoun order": (
        "Anna met Bo. She paid. Carl met Di.",
        "Carl met Di. She paid. Anna met Bo.",
    ),
    "sentence between": (
        "Acme sold the plant. It made a profit.",
        "Acme sold the plant. Beta bought it. It made a profit.",
    ),
    "chinese": ("合同期限为三十日，自签署之日起计算。", "合同期限为六十日，自签署之日起计算。"),
    "chinese digits": (
        "违约金为合同总额的5%，于三日内支付。",
        "违约金为合同总额的8%，于三日内支付。",
    ),
    "chinese negation": ("乙方有权转让本合同。", "乙方无权转让本合同。"),
    "japanese": ("契約期間は三十日とする。", "契約期間は三十一日とする。"),
    "russian": ("Срок договора составляет 30 дней.", "Срок договора составляет 60 дней."),
    "russian negation": ("Поставщик несёт ответственность.", "Поставщик не несёт ответственность."),
    "arabic": ("مدة العقد 30 يوما من تاريخه.", "مدة العقد 60 يوما من تاريخه."),
    "arabic digits": ("مدة العقد ٣٠ يوما من تاريخه.", "مدة العقد ٦٠ يوما من تاريخه."),
    "hindi": ("अनुबंध की अवधि ३० दिन है।", "अनुबंध की अवधि ६० दिन है।"),
    "hindi vowel sign": ("यह कमल का घर है।", "यह कमला का घर है।"),
    "thai": ("ระยะเวลาสัญญา 30 วัน", "ระยะเวลาสัญญา 60 วัน"),
    "korean": ("계약 기간은 30일이다.", "계약 기간은 60일이다."),
    "emoji": ("The build is ✅ today, see log.", "The build is ❌ today, see log."),
    "blank to fill": ("Pay within ____ days of it.", "Pay within days of it."),
    "lone surrogate": ("The code is \ud800 as sent.", "The code is \ud801 as sent."),
}
"""Name -> two versions that differ in one thing that matters."""

COPY = (
    "Either party may terminate this Agreement upon thirty (30) days' prior written notice. "
    "The Supplier's liability shall not exceed $1.5 million in any year. "
    'The "Term" starts on 1 March 2021 and ends after a long-term review of the products. '
    "All notices go to the address in Exhibit B-2; e-mail (at least 2 copies) is sufficient."
)

COPIES: dict[str, str] = {
    "whitespace": COPY.replace(" ", "  ").replace(". ", ".\n\n"),
    "tabs": COPY.replace(" ", "\t"),
    "no-break spaces": COPY.replace(" ", "\u00a0"),
    "wrapped": textwrap.fill(COPY, 60),
    "wrapped narrowly": textwrap.fill(COPY, 25),
    "wrapped and indented": textwrap.indent(textwrap.fill(COPY, 50), "    "),
    "lower case": COPY.lower(),
    "upper case": COPY.upper(),
    "title case": " ".join(word[:1].upper() + word[1:] for word in COPY.split()),
    "typographic quotes": COPY.replace("'", "\u2019").replace('"Term"', "\u201cTerm\u201d"),
    "quoted": f'"{COPY}"',
    "quoted in French": f"« {COPY} »",
    "bullet": f"- {COPY}",
    "bullets": "\n".join(f"• {part}" for part in COPY.split(". ")),
    "numbered": "\n".join(f"{n}. {part}" for n, part in enumerate(COPY.split(". "), 1)),
    "lettered": f"(a) {COPY}",
    "emphasis": COPY.replace("Agreement", "**Agreement**").replace("products", "_products_"),
    "code": COPY.replace("Term", "`Term`"),
    "block quote": "\n".join(f"> {line}" for line in textwrap.wrap(COPY, 60)),
    "hyphenated": COPY.replace("Agreement", "Agree-\nment").replace("products", "prod-\n  ucts"),
    "hyphen at line's end": COPY.replace("long-term", "long-\nterm"),
    "soft hyphens": COPY.replace("Agreement", "Agree\u00adment"),
    "zero-width space": COPY.replace(" ", " \u200b"),
    "ligatures": COPY.replace("sufficient", "su\ufb03cient"),
    "full-width digits": COPY.replace("2021", "２０２１"),
    "page number": f"Page 3 of 12\n{COPY}\n",
    "page number below": f"{COPY}\n\n- 3 -\n",
    "no full stop": COPY[:-1],
    "dashes": COPY.replace("; e-mail", " \u2014 e\u2011mail"),
    "running head": f"Supply agreement | Page 3\n\n{COPY}",
}
"""Name -> a copy of COPY that says the same."""
