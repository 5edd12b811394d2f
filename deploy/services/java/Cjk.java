package yingda.services;

import java.util.Map;
import java.util.function.UnaryOperator;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.LowerCaseFilter;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.cjk.CJKAnalyzer;
import org.apache.lucene.analysis.cjk.CJKBigramFilter;
import org.apache.lucene.analysis.cjk.CJKWidthFilter;
import org.elasticsearch.index.analysis.AbstractIndexAnalyzerProvider;
import org.elasticsearch.index.analysis.AbstractTokenFilterFactory;
import org.elasticsearch.index.analysis.AnalyzerProvider;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.Plugin;

/**
 * The analysis names that a mapping for Chinese uses, on the Lucene classes that stand behind them in the full distribution too:
 * the analyzer cjk and the filters cjk_width, cjk_bigram and lowercase. There they come with the module analysis-common, which the
 * registry does not have.
 */
public final class Cjk extends Plugin implements AnalysisPlugin {
  private static AnalysisProvider<TokenFilterFactory> filter(UnaryOperator<TokenStream> make) {
    return (index, environment, name, settings) -> new AbstractTokenFilterFactory(name, settings) {
      @Override
      public TokenStream create(TokenStream in) {
        return make.apply(in);
      }
    };
  }

  @Override
  public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
    return Map.of(
        "lowercase", filter(LowerCaseFilter::new),
        "cjk_width", filter(CJKWidthFilter::new),
        "cjk_bigram", (index, environment, name, settings) -> {
          boolean unigrams = settings.getAsBoolean("output_unigrams", false);
          return new AbstractTokenFilterFactory(name, settings) {
            @Override
            public TokenStream create(TokenStream in) {
              return new CJKBigramFilter(in, 0xff, unigrams);
            }
          };
        });
  }

  @Override
  public Map<String, AnalysisProvider<AnalyzerProvider<? extends Analyzer>>> getAnalyzers() {
    return Map.of("cjk", (index, environment, name, settings) -> new AbstractIndexAnalyzerProvider<CJKAnalyzer>(name, settings) {
      private final CJKAnalyzer analyzer = new CJKAnalyzer();

      @Override
      public CJKAnalyzer get() {
        return analyzer;
      }
    });
  }
}
