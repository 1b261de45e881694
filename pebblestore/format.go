package pebblestore

// FormatVersion is the version of the store format that this package writes. It
// reads this one and those before it, and refuses later ones.
const FormatVersion uint32 = storeFormat
