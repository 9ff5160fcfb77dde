"""Raw files to HeteroData: one class per data set."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.datasets._from_tables import from_tables as from_tables
    from pyg_mtrec.datasets.amazon_book import AmazonBook as AmazonBook
    from pyg_mtrec.datasets.amazon_office import AmazonOffice as AmazonOffice
    from pyg_mtrec.datasets.amazon_video_games_2014 import AmazonVideoGames as AmazonVideoGames
    from pyg_mtrec.datasets.ciao import Ciao as Ciao
    from pyg_mtrec.datasets.epinions import Epinions as Epinions
    from pyg_mtrec.datasets.gowalla import Gowalla as Gowalla
    from pyg_mtrec.datasets.kuairand_pure import KuaiRandPure as KuaiRandPure
    from pyg_mtrec.datasets.kuairand_slice import KuaiRandSlice as KuaiRandSlice
    from pyg_mtrec.datasets.lastfm import LastFM as LastFM
    from pyg_mtrec.datasets.planted import Planted as Planted
    from pyg_mtrec.datasets.retailrocket import Retailrocket as Retailrocket
    from pyg_mtrec.datasets.steam import Steam as Steam
    from pyg_mtrec.datasets.xmrec_cn import XMRecCN as XMRecCN
    from pyg_mtrec.datasets.xmrec_mx import XMRecMX as XMRecMX
    from pyg_mtrec.datasets.yelp2018 import Yelp2018 as Yelp2018

_NAMES = {
    "AmazonBook": "amazon_book",
    "AmazonOffice": "amazon_office",
    "AmazonVideoGames": "amazon_video_games_2014",
    "Ciao": "ciao",
    "Epinions": "epinions",
    "Gowalla": "gowalla",
    "KuaiRandPure": "kuairand_pure",
    "KuaiRandSlice": "kuairand_slice",
    "LastFM": "lastfm",
    "Planted": "planted",
    "Retailrocket": "retailrocket",
    "Steam": "steam",
    "XMRecCN": "xmrec_cn",
    "XMRecMX": "xmrec_mx",
    "Yelp2018": "yelp2018",
    "from_tables": "_from_tables",
}
__all__ = [
    "AmazonBook",
    "AmazonOffice",
    "AmazonVideoGames",
    "Ciao",
    "Epinions",
    "Gowalla",
    "KuaiRandPure",
    "KuaiRandSlice",
    "LastFM",
    "Planted",
    "Retailrocket",
    "Steam",
    "XMRecCN",
    "XMRecMX",
    "Yelp2018",
    "from_tables",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
