"""Words that are facts by themselves, and words that never are. Tables only, all lower-case."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "COMMON",
    "COMPARISONS",
    "LITERAL_NUMBERS",
    "MODALS",
    "NEGATIONS",
    "QUANTIFIERS",
    "REFERENCE_HEADS",
]


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


def _by_word(groups: Mapping[str, str]) -> dict[str, str]:
    """Each word of a group → the group's name."""
    return {word: name for name, words in groups.items() for word in words.split()}


_ENGLISH_NEGATIONS = _words(
    "never neither nor none nobody nothing nowhere without unless except excepting excluding",
    "excludes excluded exclude fail fails failed failing failure lack lacks lacking lacked absent",
    "deny denies denied refuse refuses refused reject rejects rejected prohibit prohibits",
    "prohibited forbid forbids forbidden prevent prevents prevented void false disable disables",
    "disabled hardly scarcely barely rarely seldom",
)
_OTHER_NEGATIONS = _words(
    "nicht kein keine keiner keinen keinem keines nie niemals ohne weder noch",
    "ne pas jamais aucun aucune sans non ni",
    "nunca sin ningún ninguna ninguno jamás",
    "senza mai nessun nessuna nessuno",
    "não nem sem nenhum nenhuma",
    "niet geen nooit zonder",
    "не нет ни без никогда нельзя",
    "لا لم لن ليس ليست غير بدون دون",
)
NEGATIONS: Mapping[str, str] = {
    "not": "not",
    "no": "no",
    "cannot": "can not",
    "can't": "can not",
    **{word: word for word in _ENGLISH_NEGATIONS | _OTHER_NEGATIONS},
}
"""Word → value. Words of other languages are their own value."""

MODALS: Mapping[str, str] = {
    "shan't": "shall not",
    "won't": "will not",
    "mustn't": "must not",
    "shouldn't": "should not",
    "wouldn't": "would not",
    "couldn't": "could not",
    "mightn't": "might not",
    "needn't": "need not",
    **{
        word: word
        for word in _words(
            "shall may must should will would can could might ought",
            "required obliged obligated entitled permitted allowed authorized authorised optional",
            "mandatory voluntary",
            "muss müssen darf dürfen soll sollen kann können",
            "doit doivent peut peuvent debe deben puede pueden",
            "deve devono può possono devem pode podem moet moeten mag mogen",
        )
    },
}
"""Word → value: verbs and adjectives that say whether something is owed, allowed or free."""

QUANTIFIERS = _words(
    "all every each any some both either most least many few several only solely exclusively",
    "always sometimes often usually last next previous former latter hourly daily weekly monthly",
    "quarterly yearly annually annual",
)

COMPARISONS = _by_word(
    {
        "increase": "increase increases increased increasing",
        "decrease": "decrease decreases decreased decreasing",
        "rise": "rise rises rose risen rising",
        "fall": "fall falls fell fallen falling",
        "grow": "grow grows grew grown growing growth",
        "shrink": "shrink shrinks shrank shrunk shrinking",
        "reduce": "reduce reduces reduced reducing reduction",
        "raise": "raise raises raised raising",
        "double": "double doubles doubled doubling twice",
        "triple": "triple triples tripled tripling thrice",
        "inclusive": "inclusive including",
        "exceed": "exceed exceeds exceeded exceeding",
        "approximately": "approximately about around approx roughly circa",
        "nearly": "nearly almost",
        "exactly": "exactly precisely",
        "minimum": "minimum min",
        "maximum": "maximum max",
        "until": "until till",
        **{
            word: word
            for word in _words(
                "more less fewer greater higher lower larger smaller longer shorter earlier later",
                "better worse above below before after since within during between exclusive net",
                "gross",
            )
        },
    }
)
"""Word → lemma: the bound or comparison that a word is when no phrase says it more exactly."""

LITERAL_NUMBERS = _words(
    "dozen dozens hundreds thousands millions billions trillions once",
    "eins ein eine einen einem einer zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn zwanzig dreißig dreissig",
    "vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend",
    "deux trois quatre cinq sept huit neuf dix onze douze treize quatorze quinze seize vingt",
    "trente quarante cinquante soixante cent cents mille",
    "dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce veinte treinta",
    "cuarenta cincuenta sesenta setenta ochenta noventa cien ciento mil",
    "due tre quattro cinque sei sette otto dieci dodici venti trenta quaranta cinquanta sessanta",
    "dois duas três quatro oito nove dez doze vinte trinta quarenta sessenta cem cento",
    "twee drie vier vijf zes zeven negen tien twaalf twintig dertig veertig vijftig zestig honderd",
    "один одна одно два две три четыре пять шесть семь восемь девять десять двенадцать двадцать",
    "тридцать сорок пятьдесят шестьдесят сто тысяча тысячи",
)
"""Number words that are kept as they are written: vague ones, and those of other languages."""

REFERENCE_HEADS = _by_word(
    {
        "section": "section sections sec secs sect",
        "article": "article articles art arts",
        "clause": "clause clauses cl",
        "paragraph": "paragraph paragraphs para paras subparagraph subsection subclause",
        "chapter": "chapter chapters ch chap",
        "schedule": "schedule schedules",
        "exhibit": "exhibit exhibits",
        "annex": "annex annexes annexure",
        "appendix": "appendix appendices",
        "part": "part parts",
        "item": "item items",
        "figure": "figure figures fig figs",
        "table": "table tables",
        "page": "page pages p pp",
        "step": "step steps",
        "rule": "rule rules",
        "regulation": "regulation regulations reg regs",
        "number": "number numbers no nos nr nummer",
        "volume": "volume vol",
        "equation": "equation eq",
        "abs": "abs absatz",
        "ziff": "ziff ziffer",
        **{
            word: word
            for word in _words(
                "title question phase level class type grade stage lot tier room building gate",
                "form directive amendment example option recital note",
            )
        },
    }
)
"""Word → what it refers to when a label follows: "Sec. 4.2(b)" is "section 4.2(b)"."""

COMMON = _words(
    "a an the this that these those there here it its he she they we you i me my our ours your",
    "yours his her hers their theirs him them us who whom whose which what when where while why",
    "how whether if then else than as at by for from in into of off on onto out over to toward",
    "towards under up upon via with within without and or but nor so yet because although though",
    "however therefore thus hence moreover furthermore also further additionally accordingly",
    "otherwise instead indeed is are was were be been being am do does did done have has had",
    "having let such same other another each",
    "every all any some both either most much many few several only one first second third last",
    "next new now today yesterday tomorrow yes no not never see please subject notwithstanding",
    "except during after before until since once again according regarding concerning based given",
    "including provided pursuant per about above below between among through across against around",
    "behind beside besides beyond despite along like unlike near overall generally usually often",
    "sometimes finally meanwhile later earlier e g",
    "der die das den dem des ein eine und oder im am auf für mit von zu zum zur bei nach",
    "le la les il un une du de et ou en dans pour par sur avec el los las una y o por para con del",
    "lo gli di da het een van voor",
)
"""Words that are no names although they are capitalised, and that end a run of names."""
