import java.text.BreakIterator;
import java.text.spi.BreakIteratorProvider;
import java.util.Locale;

/** OpenSearch asks for Thai word breaks at its start; small Java runtimes have no locale data. */
public class ThaiWords extends BreakIteratorProvider {
    @Override public Locale[] getAvailableLocales() { return new Locale[] {Locale.forLanguageTag("th"), Locale.forLanguageTag("th-TH")}; }
    @Override public BreakIterator getCharacterInstance(Locale locale) { return BreakIterator.getCharacterInstance(Locale.ROOT); }
    @Override public BreakIterator getWordInstance(Locale locale) { return getCharacterInstance(locale); }
    @Override public BreakIterator getLineInstance(Locale locale) { return getCharacterInstance(locale); }
    @Override public BreakIterator getSentenceInstance(Locale locale) { return getCharacterInstance(locale); }
}
