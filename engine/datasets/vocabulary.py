"""Words of the synthetic catalogue: genres, their themes, and what titles are made of.

All invented here. A theme is (what the film is about, nouns of its titles); the themes of a genre
differ in their words, so that a text encoder can tell them apart.
"""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """One theme of a genre."""

    genre: str
    about: str
    nouns: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _genre(genre: str, *themes: tuple[str, str]) -> tuple[Theme, ...]:
    return tuple(Theme(genre, about, _words(nouns)) for about, nouns in themes)


THEMES: tuple[Theme, ...] = (
    *_genre(
        "Mystery",
        ("a locked room and an heir who vanished", "Key Staircase Inheritance Door"),
        ("a small harbour town that keeps one secret", "Lighthouse Tide Ferry Harbour"),
        ("a stolen painting and a forger who talks", "Canvas Signature Forgery Gallery"),
        ("an old case that a retired inspector reopens", "File Witness Alibi Verdict"),
    ),
    *_genre(
        "Science Fiction",
        ("a generation ship that forgot its course", "Orbit Airlock Voyage Hull"),
        ("machines that learn to grieve", "Circuit Automaton Memory Signal"),
        ("a message from a dead star", "Pulsar Observatory Transmission Eclipse"),
        ("a colony under the ice of a moon", "Glacier Outpost Settlement Thaw"),
    ),
    *_genre(
        "Comedy",
        ("a wedding where everything goes wrong", "Bridegroom Cake Speech Invitation"),
        ("two rival bakeries on one street", "Oven Croissant Recipe Counter"),
        ("an office that nobody dares to close", "Stapler Meeting Memo Elevator"),
        ("a goat that is elected mayor", "Goat Ballot Parade Village"),
    ),
    *_genre(
        "Drama",
        ("three siblings who sell the family farm", "Orchard Barn Harvest Fence"),
        ("a pianist who loses her hearing", "Sonata Metronome Silence Concert"),
        ("a strike in a mining valley", "Shaft Lantern Picket Valley"),
        ("a father and son who have not spoken for years", "Letter Porch Forgiveness Telephone"),
    ),
    *_genre(
        "Western",
        ("the last cattle drive before the railway", "Trail Herd Saddle River"),
        ("a sheriff without a gun", "Badge Saloon Noon Gallows"),
        ("gold in a canyon that nobody leaves", "Canyon Nugget Claim Mule"),
        ("a widow who defends her ranch", "Ranch Rifle Widow Corral"),
    ),
    *_genre(
        "Horror",
        ("a house whose rooms change at night", "Cellar Wallpaper Corridor Attic"),
        ("a village that buries its dead twice", "Grave Bell Shroud Chapel"),
        ("something in the lake that answers prayers", "Lake Reed Drowning Offering"),
        ("a doll maker and her last customer", "Doll Porcelain Needle Nursery"),
    ),
    *_genre(
        "Romance",
        ("two letters delivered forty years late", "Envelope Postman Promise Reply"),
        ("a summer in a vineyard by the sea", "Vineyard Summer Terrace Kiss"),
        ("rival dancers who must share a stage", "Tango Waltz Partner Ballroom"),
        ("strangers who miss the same train each day", "Platform Train Umbrella Timetable"),
    ),
    *_genre(
        "Adventure",
        ("a map that is wrong on purpose", "Map Compass Island Cipher"),
        ("a balloon race across a desert", "Balloon Dune Caravan Mirage"),
        ("a climb that no one has survived", "Summit Rope Avalanche Ridge"),
        ("a river journey to a drowned city", "Delta Canoe Temple Rapids"),
    ),
    *_genre(
        "Documentary",
        ("the people who repair the world's bridges", "Bridge Rivet Span Engineer"),
        ("a year with a colony of emperor penguins", "Penguin Colony Blizzard Migration"),
        ("how a spice changed five empires", "Pepper Merchant Cargo Empire"),
        ("an orchestra of instruments made from scrap", "Orchestra Scrapyard Violin Rehearsal"),
    ),
    *_genre(
        "Fantasy",
        ("a dragon who collects stories instead of gold", "Dragon Hoard Tale Scale"),
        ("an apprentice who can only undo spells", "Apprentice Spell Wand Cauldron"),
        ("a forest that walks one step a year", "Forest Root Acorn Antler"),
        ("a queen who traded her shadow", "Queen Shadow Crown Mirror"),
    ),
)

ADJECTIVES = _words(
    "Amber Ancient Borrowed Bright Broken Copper Crimson Crooked Distant Empty Endless Faithful "
    "Final First Forgotten Frozen Gentle Golden Hidden Hollow Iron Last Late Little Lonely Long "
    "Lost Midnight Northern Pale Patient Quiet Restless Scarlet Second Secret Silver Sleeping "
    "Stubborn Velvet Wandering Western Wild Winter"
)
PLACES = _words(
    "Ashford Bellmare Carrow Dunmere Elsinwick Farrowgate Grenholm Hallowby Istrane Kestrelbay "
    "Lanthorn Marrowdale"
)
MOODS = _words("tense warm slow playful bleak tender restless dry sweeping odd")
